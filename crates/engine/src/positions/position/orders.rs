//! The orders of a position: appended to, and shared with the copies that readers hold.
//!
//! Readers hold a copy of every account, so a list in one piece would be copied with each order
//! that is added to it. Here only its young end is, and an order costs the same whether it is the
//! first or the hundredth.

use std::io;
use std::ops::Index;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};

use super::Order;

/// Orders per shared block: how many are copied at most when one is added.
const BLOCK: usize = 8;

/// The orders of a position as they were filled, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Orders {
    /// Full blocks.
    blocks: Arc<Vec<Arc<[Order]>>>,
    /// The youngest orders, fewer than a block.
    tail: Arc<Vec<Order>>,
}

impl Orders {
    /// Returns how many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.blocks.len() * BLOCK + self.tail.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the order at `index`, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Order> {
        match self.blocks.get(index / BLOCK) {
            Some(block) => block.get(index % BLOCK),
            None => self.tail.get(index - self.blocks.len() * BLOCK),
        }
    }

    /// Returns the oldest order.
    #[must_use]
    pub fn first(&self) -> Option<&Order> {
        self.get(0)
    }

    /// Returns the youngest order.
    #[must_use]
    pub fn last(&self) -> Option<&Order> {
        self.tail.last().or_else(|| self.blocks.last()?.last())
    }

    /// Returns every order, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Order> + ExactSizeIterator + Clone {
        self.since(0)
    }

    /// Returns the orders from place `first` on; costs nothing for those before.
    pub fn since(
        &self,
        first: usize,
    ) -> impl DoubleEndedIterator<Item = &Order> + ExactSizeIterator + Clone {
        (first..self.len()).map(|index| &self[index])
    }

    /// Gives back the room for orders that will not come.
    pub(super) fn shrink_to_fit(&mut self) {
        Arc::make_mut(&mut self.tail).shrink_to_fit();
    }

    pub(super) fn push(&mut self, order: Order) {
        let tail = Arc::make_mut(&mut self.tail);
        tail.push(order);
        if tail.len() == BLOCK {
            let block = tail.drain(..).collect();
            Arc::make_mut(&mut self.blocks).push(block);
        }
    }
}

impl Index<usize> for Orders {
    type Output = Order;

    /// # Panics
    /// When there is no order at `index`.
    fn index(&self, index: usize) -> &Order {
        self.get(index).expect("the index of an order is below their number")
    }
}

impl PartialEq for Orders {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl BorshSerialize for Orders {
    /// Writes the orders as a plain list.
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        u32::try_from(self.len()).map_err(io::Error::other)?.serialize(writer)?;
        self.iter().try_for_each(|order| order.serialize(writer))
    }
}

impl BorshDeserialize for Orders {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let mut orders = Self::default();
        for _ in 0..u32::deserialize_reader(reader)? {
            orders.push(Order::deserialize_reader(reader)?);
        }
        Ok(orders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::positions::position::OrderSource;
    use proctor_types::{OrderId, Side, UtcMs};

    fn order(number: i64) -> Order {
        Order {
            id: OrderId::new(&format!("o{number}")).expect("valid"),
            at: UtcMs(number),
            side: Side::Long,
            leverage: 0.1,
            value: 10.0,
            quantity: 0.1,
            price: 100.0,
            bid: 0.0,
            ask: 0.0,
            slippage: 0.0,
            quote_usd_rate: 1.0,
            usd_base_rate: 0.01,
            source: OrderSource::Organic,
        }
    }

    fn filled(count: i64) -> Orders {
        let mut orders = Orders::default();
        (0..count).for_each(|number| orders.push(order(number)));
        orders
    }

    fn times<'a>(orders: impl Iterator<Item = &'a Order>) -> Vec<i64> {
        orders.map(|order| order.at.0).collect()
    }

    #[test]
    fn orders_stand_in_the_order_in_which_they_came_whatever_their_number() {
        for count in 0..20 {
            let orders = filled(count);
            assert_eq!(times(orders.iter()), (0..count).collect::<Vec<_>>());
            assert_eq!(orders.len(), orders.iter().count());
            assert_eq!(orders.first().map(|order| order.at.0), (count > 0).then_some(0));
            assert_eq!(orders.last().map(|order| order.at.0), (count > 0).then(|| count - 1));
            assert_eq!(orders.get(orders.len()), None);
            assert_eq!(times(orders.since(5)), (5..count).collect::<Vec<_>>());
            assert_eq!(times(orders.iter().rev()), (0..count).rev().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_copy_shares_the_orders_and_does_not_see_later_ones() {
        let mut orders = filled(20);
        let copy = orders.clone();
        (20..30).for_each(|number| orders.push(order(number)));
        assert_eq!(times(copy.iter()), (0..20).collect::<Vec<_>>());
        assert_eq!(times(orders.iter()), (0..30).collect::<Vec<_>>());
        assert!(Arc::ptr_eq(&orders.blocks[1], &copy.blocks[1]), "full blocks stay shared");
    }

    #[test]
    fn the_bytes_are_those_of_a_plain_list() {
        for count in [0, 1, 7, 8, 9, 100] {
            let orders = filled(count);
            let list: Vec<Order> = orders.iter().cloned().collect();
            let bytes = borsh::to_vec(&orders).expect("to memory");
            assert_eq!(bytes, borsh::to_vec(&list).expect("to memory"));
            assert_eq!(Orders::try_from_slice(&bytes).expect("round trip"), orders);
        }
    }
}
