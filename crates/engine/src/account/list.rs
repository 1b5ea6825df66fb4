//! `Accounts`: all accounts in the order of enrolment, found by trader, shared with readers.

use std::hash::{BuildHasherDefault, Hasher};
use std::io;
use std::ops::Index;
use std::slice;
use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use indexmap::IndexSet;
use proctor_types::TraderId;

use super::Account;

/// Accounts of a chunk. A view costs the engine one copy of the list of chunks, and each chunk with
/// a changed account one copy of its pointers: among ten thousand accounts the sum of both is least
/// near this length, for one changed account as for dozens.
const CHUNK: usize = 32;

/// Accounts whose pointers are copied together.
type Chunk = Arc<[Arc<Account>]>;

/// The traders in the order of enrolment, so that a trader's place here is that of the account.
///
/// Not a hash order: an index set is iterated by insertion, whatever the hashes are.
type Places = IndexSet<TraderId, BuildHasherDefault<NameHasher>>;

/// Hashes a name by multiplying and folding eight bytes at a time: a third of the time that the
/// standard hasher takes. Without a random key, because equal runs should cost the same; names that
/// were made to collide would slow their own look-ups, and who is on the roster has paid for it.
#[derive(Clone, Copy, Debug, Default)]
struct NameHasher(u64);

impl NameHasher {
    fn fold(&mut self, word: u64) {
        // The golden ratio's fraction, as in Fibonacci hashing; the shift brings the well-mixed upper
        // bits down to where a table looks for its slot.
        let mixed = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.fold(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            self.fold(rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// All accounts in the order of enrolment.
///
/// A clone is two pointers. What a clone shares is copied when it is changed, as little as that
/// takes: an account and the pointers beside it; the places of the traders only at an enrolment.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// All but the last are full.
    chunks: Arc<Vec<Chunk>>,
    places: Arc<Places>,
}

/// The accounts in the order of enrolment.
pub type Iter<'a> = std::iter::FlatMap<
    slice::Iter<'a, Chunk>,
    slice::Iter<'a, Arc<Account>>,
    fn(&'a Chunk) -> slice::Iter<'a, Arc<Account>>,
>;

impl Accounts {
    /// Returns how many accounts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Tells whether there is no account.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Returns the accounts in the order of enrolment.
    pub fn iter(&self) -> Iter<'_> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// Returns the account at `place` in the order of enrolment, from 0.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Arc<Account>> {
        self.chunks.get(place / CHUNK)?.get(place % CHUNK)
    }

    /// Returns the place of the account of `trader`, if there is one.
    #[must_use]
    pub fn place(&self, trader: &TraderId) -> Option<usize> {
        self.places.get_index_of(trader)
    }

    /// Returns the account of `trader`, if there is one.
    #[must_use]
    pub fn of(&self, trader: &TraderId) -> Option<&Arc<Account>> {
        self.get(self.place(trader)?)
    }

    /// Returns the places of all accounts in the order of their traders' names.
    pub(crate) fn by_name(&self) -> Vec<usize> {
        let mut places: Vec<usize> = (0..self.len()).collect();
        places.sort_by_key(|place| &self.places[*place]);
        places
    }

    /// Returns the account at `place` to change it; readers keep what they have.
    pub(crate) fn change(&mut self, place: usize) -> &mut Account {
        let chunks = Arc::make_mut(&mut self.chunks);
        Arc::make_mut(&mut Arc::make_mut(&mut chunks[place / CHUNK])[place % CHUNK])
    }

    /// Puts `account` in the place of the one at `place`, which is of the same trader.
    pub(crate) fn replace(&mut self, place: usize, account: Account) {
        debug_assert_eq!(self.places.get_index(place), Some(&account.trader), "another trader's");
        let chunks = Arc::make_mut(&mut self.chunks);
        Arc::make_mut(&mut chunks[place / CHUNK])[place % CHUNK] = Arc::new(account);
    }

    /// Adds `account` after all others and returns its place, unless its trader has one already.
    pub(crate) fn push(&mut self, account: Account) -> Option<usize> {
        let place = self.len();
        if !Arc::make_mut(&mut self.places).insert(account.trader.clone()) {
            return None;
        }
        let account = Arc::new(account);
        let chunks = Arc::make_mut(&mut self.chunks);
        match chunks.last_mut() {
            Some(last) if last.len() < CHUNK => {
                *last = last.iter().cloned().chain([account]).collect();
            }
            Some(_) | None => chunks.push([account].into()),
        }
        Some(place)
    }
}

impl Index<usize> for Accounts {
    type Output = Arc<Account>;

    fn index(&self, place: usize) -> &Arc<Account> {
        &self.chunks[place / CHUNK][place % CHUNK]
    }
}

impl<'a> IntoIterator for &'a Accounts {
    type Item = &'a Arc<Account>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl PartialEq for Accounts {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Written as a plain list: neither chunks nor places are anybody's business.
impl BorshSerialize for Accounts {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        u32::try_from(self.len()).map_err(io::Error::other)?.serialize(writer)?;
        self.iter().try_for_each(|account| account.serialize(writer))
    }
}

impl BorshDeserialize for Accounts {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let mut accounts = Self::default();
        for _ in 0..u32::deserialize_reader(reader)? {
            let account = Account::deserialize_reader(reader)?;
            let trader = account.trader.clone();
            if accounts.push(account).is_none() {
                let problem = format!("{trader} has two accounts");
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
        }
        Ok(accounts)
    }
}

#[cfg(test)]
mod tests {
    use proctor_types::UtcMs;

    use super::*;
    use crate::eliminations::Bar;

    fn account(number: usize) -> Account {
        // Names whose order is not that of enrolment.
        let name = format!("trader-{:03}", number * 37 % 101);
        Account::new(TraderId::new(&name).unwrap(), UtcMs(0), 0, Bar::default())
    }

    fn hundred() -> Accounts {
        let mut accounts = Accounts::default();
        for number in 0..100 {
            assert_eq!(accounts.push(account(number)), Some(number));
        }
        accounts
    }

    #[test]
    fn accounts_stand_in_the_order_of_enrolment_and_are_found_by_trader() {
        let mut accounts = hundred();
        assert_eq!((accounts.len(), accounts.iter().count()), (100, 100));
        for (place, each) in accounts.iter().enumerate() {
            assert_eq!(each.trader, account(place).trader);
            assert_eq!(accounts[place], *each);
            assert_eq!(accounts.place(&each.trader), Some(place));
            assert_eq!(accounts.of(&each.trader), Some(each));
        }
        assert_eq!((accounts.get(100), accounts.of(&account(100).trader)), (None, None));
        let names: Vec<&TraderId> =
            accounts.by_name().iter().map(|place| &accounts[*place].trader).collect();
        assert!(names.is_sorted() && names.len() == 100);
        assert_eq!(accounts.push(account(40)), None, "a second account of one trader");
        assert_eq!(accounts, hundred());
    }

    #[test]
    fn a_change_is_not_seen_in_a_copy_and_copies_no_account_but_the_changed_one() {
        let mut accounts = hundred();
        let (copy, untouched) = (accounts.clone(), hundred());
        accounts.change(70).epoch = 7;
        accounts.replace(3, Account { epoch: 8, ..account(3) });
        accounts.push(account(100));
        assert_eq!(copy, untouched);
        assert_eq!(copy.of(&account(100).trader), None);
        assert_eq!((accounts[70].epoch, accounts[3].epoch), (7, 8));
        let moved = |place: &usize| !Arc::ptr_eq(&accounts[*place], &copy[*place]);
        assert_eq!((0..100).filter(moved).collect::<Vec<_>>(), [3, 70]);
    }

    #[test]
    fn the_bytes_are_those_of_a_list_and_a_trader_stands_in_it_once() {
        let accounts = hundred();
        let mut list: Vec<Account> = accounts.iter().map(|each| Account::clone(each)).collect();
        let bytes = borsh::to_vec(&accounts).unwrap();
        assert_eq!(bytes, borsh::to_vec(&list).unwrap());
        assert_eq!(Accounts::try_from_slice(&bytes).unwrap(), accounts);
        list.push(account(40));
        let error = Accounts::try_from_slice(&borsh::to_vec(&list).unwrap()).unwrap_err();
        assert!(error.to_string().contains("has two accounts"), "{error}");
    }
}
