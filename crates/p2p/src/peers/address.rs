//! `PeerAddress`, `Subnet`: where a node listens, and which addresses may be believed.
//!
//! Records carry IP addresses only: a name would let whoever is gossiped about choose what the
//! dialler looks up. Names stand in the configuration alone ([`Endpoint`]) and are resolved by the
//! task that dials.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest name of a host in the configuration, in bytes: that of the domain name system.
pub const HOST_BYTES_MAX: usize = 253;

/// An IP address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerAddress {
    /// The host.
    pub ip: IpAddr,
    /// The TCP port.
    pub port: u16,
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(out)
    }
}

/// Where to dial: an address, or a name that the dialling task looks up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// An address.
    Ip(PeerAddress),
    /// A name out of the configuration.
    Name {
        /// The name, at most [`HOST_BYTES_MAX`] bytes.
        host: String,
        /// The TCP port.
        port: u16,
    },
}

/// Why an address is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRefused {
    /// Nobody listens on port 0.
    #[error("port 0 cannot be dialled")]
    PortZero,
    /// It names no host, or many, or none that can be reached.
    #[error("{0} is not the address of one host")]
    NotAHost(IpAddr),
    /// An IPv4 address in the clothes of an IPv6 address: every address has one spelling.
    #[error("{0} stands for an IPv4 address: write that one")]
    Disguised(Ipv6Addr),
    /// It leads to this machine or into a private network.
    #[error("{0} is private, and private addresses are not allowed here")]
    Private(IpAddr),
}

/// Which addresses are believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    /// Whether loopback, link-local and private addresses are; for a network of one's own.
    pub allow_private: bool,
}

impl AddressRules {
    /// Checks `address` (5.12b).
    ///
    /// # Errors
    /// The first rule that it breaks, in the order of [`AddressRefused`].
    pub fn check(self, address: PeerAddress) -> Result<(), AddressRefused> {
        if address.port == 0 {
            return Err(AddressRefused::PortZero);
        }
        let kind = match address.ip {
            IpAddr::V4(ip) => Kind::of_v4(ip),
            IpAddr::V6(ip) => Kind::of_v6(ip),
        };
        match (kind, address.ip) {
            (Kind::NotAHost, ip) => Err(AddressRefused::NotAHost(ip)),
            (Kind::Disguised, IpAddr::V6(ip)) => Err(AddressRefused::Disguised(ip)),
            (Kind::Private, ip) if !self.allow_private => Err(AddressRefused::Private(ip)),
            (Kind::Private | Kind::Public | Kind::Disguised, _) => Ok(()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    NotAHost,
    Disguised,
    Private,
    Public,
}

impl Kind {
    fn of_v4(ip: Ipv4Addr) -> Self {
        let [a, b, c, _] = ip.octets();
        let documentation = ip.is_documentation() || (a, b) == (198, 18) || (a, b) == (198, 19);
        let reserved = a == 0 || a >= 240 || (a, b, c) == (192, 0, 0) || documentation;
        // 100.64.0.0/10: behind the translation of a provider.
        let shared = a == 100 && (64..128).contains(&b);
        if reserved || ip.is_multicast() {
            Self::NotAHost
        } else if ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared {
            Self::Private
        } else {
            Self::Public
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        let [first, second, third, ..] = ip.segments();
        // Mapped and compatible (::/96 but ::1), NAT64, 6to4, Teredo: behind each an IPv4 address
        // is reached, which may be a private one.
        let low = ip.octets().iter().take(10).all(|&byte| byte == 0);
        let embedded = low && !ip.is_loopback() && !ip.is_unspecified()
            || (first, second) == (0x64, 0xff9b)
            || first == 0x2002
            || (first, second) == (0x2001, 0);
        let documentation =
            (first, second) == (0x2001, 0xdb8) || first == 0x3fff && second < 0x1000;
        let discard = (first, second, third) == (0x100, 0, 0);
        let site_local = first & 0xffc0 == 0xfec0;
        if ip.is_unspecified() || ip.is_multicast() || documentation || discard || site_local {
            Self::NotAHost
        } else if embedded {
            Self::Disguised
        } else if ip.is_loopback() || first & 0xffc0 == 0xfe80 || first & 0xfe00 == 0xfc00 {
            Self::Private
        } else {
            Self::Public
        }
    }
}

/// A block of addresses: those that share the first bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subnet {
    /// The address with zeros behind the prefix.
    base: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// Returns the block of `prefix` bits around `ip`; a longer prefix than the address is cut to it.
    #[must_use]
    pub fn around(ip: IpAddr, prefix: u8) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self { base: IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask)), prefix }
            }
            IpAddr::V6(ip) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self { base: IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask)), prefix }
            }
        }
    }

    /// One host: an IPv4 address, or the /64 that one IPv6 host can fill alone.
    #[must_use]
    pub fn host(ip: IpAddr) -> Self {
        Self::around(ip, if ip.is_ipv4() { 32 } else { 64 })
    }

    /// One site, the unit of the connection limits: a /24, or a /48.
    #[must_use]
    pub fn site(ip: IpAddr) -> Self {
        Self::around(ip, if ip.is_ipv4() { 24 } else { 48 })
    }

    /// One provider, the unit of the peer book: a /16, or a /32.
    #[must_use]
    pub fn provider(ip: IpAddr) -> Self {
        Self::around(ip, if ip.is_ipv4() { 16 } else { 32 })
    }

    /// Returns whether `ip` lies in the block.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        Self::around(ip, self.prefix) == *self
    }

    /// The address with zeros behind the prefix, and the length of the prefix in bits.
    #[must_use]
    pub fn parts(&self) -> (IpAddr, u8) {
        (self.base, self.prefix)
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.base, self.prefix)
    }
}

impl fmt::Debug for Subnet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str, allow_private: bool) -> &'static str {
        let address: std::net::SocketAddr = text.parse().unwrap();
        let address = PeerAddress { ip: address.ip(), port: address.port() };
        match (AddressRules { allow_private }).check(address) {
            Ok(()) => "ok",
            Err(AddressRefused::PortZero) => "port 0",
            Err(AddressRefused::NotAHost(_)) => "no host",
            Err(AddressRefused::Disguised(_)) => "disguised",
            Err(AddressRefused::Private(_)) => "private",
        }
    }

    /// p2p 5.12b: loopback, private and multicast are refused unless allowed, port 0 always.
    #[test]
    fn addresses_of_one_public_host_are_believed_and_private_ones_where_allowed() {
        for (text, in_public, in_private) in [
            ("1.2.3.4:30303", "ok", "ok"),
            ("1.2.3.4:0", "port 0", "port 0"),
            ("127.0.0.1:9", "private", "ok"),
            ("10.1.2.3:9", "private", "ok"),
            ("172.31.0.1:9", "private", "ok"),
            ("172.32.0.1:9", "ok", "ok"),
            ("192.168.1.1:9", "private", "ok"),
            ("169.254.1.1:9", "private", "ok"),
            ("100.64.0.1:9", "private", "ok"),
            ("100.128.0.1:9", "ok", "ok"),
            ("0.0.0.0:9", "no host", "no host"),
            ("0.1.2.3:9", "no host", "no host"),
            ("224.0.0.1:9", "no host", "no host"),
            ("255.255.255.255:9", "no host", "no host"),
            ("240.0.0.1:9", "no host", "no host"),
            ("192.0.2.1:9", "no host", "no host"),
            ("[2a00:1450::1]:9", "ok", "ok"),
            ("[::1]:9", "private", "ok"),
            ("[::]:9", "no host", "no host"),
            ("[ff02::1]:9", "no host", "no host"),
            ("[fe80::1]:9", "private", "ok"),
            ("[fd00::1]:9", "private", "ok"),
            ("[2001:db8::1]:9", "no host", "no host"),
            ("[::ffff:10.0.0.1]:9", "disguised", "disguised"),
            ("[::10.0.0.1]:9", "disguised", "disguised"),
            ("[64:ff9b::a00:1]:9", "disguised", "disguised"),
            ("[2002:a00:1::]:9", "disguised", "disguised"),
        ] {
            assert_eq!(
                (verdict(text, false), verdict(text, true)),
                (in_public, in_private),
                "{text}"
            );
        }
    }

    #[test]
    fn a_subnet_holds_the_addresses_that_share_its_prefix() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let site = Subnet::site(ip("10.1.2.3"));
        assert_eq!(site.to_string(), "10.1.2.0/24");
        assert!(site.contains(ip("10.1.2.255")) && !site.contains(ip("10.1.3.0")));
        assert!(!site.contains(ip("::ffff:10.1.2.3")));
        assert_eq!(Subnet::host(ip("2a00:1:2:3:4::5")).to_string(), "2a00:1:2:3::/64");
        assert_eq!(Subnet::provider(ip("2a00:1:2:3:4::5")).to_string(), "2a00:1::/32");
        assert!(Subnet::around(ip("1.2.3.4"), 0).contains(ip("200.0.0.1")));
        assert_eq!(Subnet::around(ip("1.2.3.4"), 99), Subnet::host(ip("1.2.3.4")));
        assert!(Subnet::around(ip("::1"), 0).contains(ip("ffff::")));
    }
}
