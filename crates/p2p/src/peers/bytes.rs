//! Reading and writing the canonical bytes of what peers sign and store: fixed order, big-endian.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{PeerAddress, Subnet};

/// Bytes that are read from the front. `None` at their end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl Reader<'_> {
    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads the kind (4 or 6) and the bytes of an address; `Err` holds any other kind.
    pub(super) fn ip(&mut self) -> Option<Result<IpAddr, u8>> {
        match self.byte()? {
            4 => self.array::<4>().map(|bytes| Ok(IpAddr::V4(Ipv4Addr::from(bytes)))),
            6 => self.array::<16>().map(|bytes| Ok(IpAddr::V6(Ipv6Addr::from(bytes)))),
            other => Some(Err(other)),
        }
    }

    pub(super) fn subnet(&mut self) -> Option<Subnet> {
        let ip = self.ip()?.ok()?;
        let prefix = self.byte()?;
        let subnet = Subnet::around(ip, prefix);
        // One block has one spelling.
        (subnet.parts() == (ip, prefix)).then_some(subnet)
    }
}

pub(super) fn put_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

pub(super) fn put_address(out: &mut Vec<u8>, address: PeerAddress) {
    put_ip(out, address.ip);
    out.extend_from_slice(&address.port.to_be_bytes());
}

pub(super) fn put_subnet(out: &mut Vec<u8>, subnet: &Subnet) {
    let (base, prefix) = subnet.parts();
    put_ip(out, base);
    out.push(prefix);
}
