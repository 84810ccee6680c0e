//! Who is connected to a server: distributions of connections per address.
//!
//! They were written down before the rule was, from what each kind of host
//! sees, and are not fitted to it.
use std::net::Ipv4Addr;

use super::random::Random;

/// An address and what it has.
#[derive(Clone, Copy, Debug)]
pub struct Visitor {
    /// Who it is.
    pub address: Ipv4Addr,
    /// How many connections it has.
    pub connections: u64,
    /// How likely it is still there a minute later.
    pub stays: f64,
    /// Whether it is what the check should find.
    pub offends: bool,
}

/// A kind of host, clean of offenders.
#[derive(Clone, Copy)]
pub struct Site {
    pub name: &'static str,
    /// How many addresses it has.
    pub addresses: usize,
    /// What one of them has; the how-manieth is told.
    visitor: fn(&mut Random, usize) -> Habit,
}

/// How many connections an address has, and how likely it is still there a
/// minute later.
type Habit = (u64, f64);

/// Sessions of administrators, a poller, an agent.
fn idle(random: &mut Random, _: usize) -> Habit {
    (random.between(1, 4), 0.9)
}

/// HTTP/2 has everything in one connection; a second one is on its way out.
fn http2(random: &mut Random, _: usize) -> Habit {
    (1 + u64::from(random.happens(0.3)), 0.5)
}

/// HTTP/1.1: browsers open up to 6 connections to a host name, and a page has
/// its pictures on a second one.
fn browser(random: &mut Random, _: usize) -> Habit {
    (random.between(1, 12), 0.5)
}

/// A public site over HTTP/1.1: mostly lone browsers, some households with
/// several, and a few offices, schools and mobile networks behind one address.
///
/// Casado and Freedman (NSDI 2007) found most NATs to hide fewer than 7 hosts,
/// and a long tail. Here the users behind a gateway that are active at a time
/// are lognormal, half of them above 6 and one in 100 above 38. Gateways are
/// there day and night.
fn public(random: &mut Random, _: usize) -> Habit {
    let kind = random.unit();
    let (users, stays) = if kind < 0.80 {
        (1, 0.5)
    } else if kind < 0.95 {
        (random.between(2, 4), 0.7)
    } else {
        (((6.0 * (0.8 * random.normal()).exp()).round() as u64).max(2), 0.95)
    };
    ((0..users).map(|_| random.between(1, 6)).sum(), stays)
}

/// The proxies of a content network, each with a pool of 200, give or take
/// what is being opened and closed.
fn proxy(random: &mut Random, _: usize) -> Habit {
    ((200.0 + 14.0 * random.normal()).round() as u64, 1.0)
}

/// A database: six application servers whose pools hold 20 to 40, and beside
/// them a backup and a monitor.
fn pool(random: &mut Random, at: usize) -> Habit {
    match at {
        0..6 => (random.between(20, 40), 1.0),
        _ => (random.between(1, 2), 0.9),
    }
}

/// A mail server: other servers deliver by one to three connections, people's
/// mail programs hold 2 to 10 for their folders, and large providers and
/// mailing lists deliver by 5 to 20.
fn mail(random: &mut Random, _: usize) -> Habit {
    let kind = random.unit();
    if kind < 0.6 {
        (random.between(1, 3), 0.2)
    } else if kind < 0.95 {
        (random.between(2, 10), 0.95)
    } else {
        (random.between(5, 20), 0.6)
    }
}

/// A service for programs, whose customers are of all sizes: a power law with
/// exponent 2, the variance of which is infinite.
fn customers(random: &mut Random, _: usize) -> Habit {
    (random.unit().powf(-0.5) as u64, 0.9)
}

/// Counts that are lognormal indeed, with the scale 1.2.
fn lognormal(random: &mut Random, _: usize) -> Habit {
    ((3.0 * (1.2 * random.normal()).exp()).ceil() as u64, 0.7)
}

impl Site {
    const fn new(
        name: &'static str,
        addresses: usize,
        visitor: fn(&mut Random, usize) -> Habit,
    ) -> Self {
        Self { name, addresses, visitor }
    }

    /// Everybody who is connected.
    pub fn crowd(&self, random: &mut Random) -> Vec<Visitor> {
        (0..self.addresses).map(|at| self.visitor(random, at, at)).collect()
    }

    fn visitor(&self, random: &mut Random, at: usize, address: usize) -> Visitor {
        let (connections, stays) = (self.visitor)(random, at);
        Visitor { address: nth(address), connections, stays, offends: false }
    }

    /// The same a minute later.
    ///
    /// Who stays closes some connections and opens as many others on average;
    /// who leaves makes room for somebody else.
    pub fn later(&self, random: &mut Random, crowd: &[Visitor]) -> Vec<Visitor> {
        let next = |(at, &old): (usize, &Visitor)| {
            if random.happens(old.stays) {
                let connections = random.of(old.connections, 0.7) + random.of(old.connections, 0.3);
                Visitor { connections: connections.max(1), ..old }
            } else {
                self.visitor(random, at, NEWCOMERS + at)
            }
        };
        crowd.iter().enumerate().map(next).collect()
    }
}

/// Where the addresses of those begin who come later, and those of offenders.
const NEWCOMERS: usize = 40_000;
const OFFENDERS: usize = 80_000;

/// An address of 198.18.0.0/15, which is for benchmarks (RFC 2544).
fn nth(address: usize) -> Ipv4Addr {
    let first = Ipv4Addr::new(198, 18, 0, 0).to_bits();
    Ipv4Addr::from_bits(first + u32::try_from(address).expect("a few thousand"))
}

/// What the targets for false alarms are about.
pub const BENIGN: [Site; 13] = [
    Site::new("idle host, 3", 3, idle),
    Site::new("idle host, 6", 6, idle),
    Site::new("HTTP/2 site, 50", 50, http2),
    Site::new("HTTP/2 site, 1000", 1000, http2),
    Site::new("browsers, 10", 10, browser),
    Site::new("browsers, 100", 100, browser),
    Site::new("browsers, 2000", 2000, browser),
    Site::new("NAT gateways, 30", 30, public),
    Site::new("NAT gateways, 300", 300, public),
    Site::new("NAT gateways, 5000", 5000, public),
    Site::new("CDN-fronted, 12", 12, proxy),
    Site::new("database pool, 8", 8, pool),
    Site::new("mail server, 100", 100, mail),
];

/// Harder than what the targets are about.
pub const HARDER: [Site; 4] = [
    Site::new("power law, 100", 100, customers),
    Site::new("power law, 1000", 1000, customers),
    Site::new("lognormal 1.2, 30", 30, lognormal),
    Site::new("lognormal 1.2, 1000", 1000, lognormal),
];

/// Where offenders are put.
pub const ATTACKED: [Site; 15] = [
    Site::new("idle host, 3", 3, idle),
    Site::new("HTTP/2 site, 50", 50, http2),
    Site::new("HTTP/2 site, 1000", 1000, http2),
    Site::new("browsers, 3", 3, browser),
    Site::new("browsers, 10", 10, browser),
    Site::new("browsers, 30", 30, browser),
    Site::new("browsers, 100", 100, browser),
    Site::new("browsers, 300", 300, browser),
    Site::new("browsers, 1000", 1000, browser),
    Site::new("NAT gateways, 30", 30, public),
    Site::new("NAT gateways, 300", 300, public),
    Site::new("NAT gateways, 1000", 1000, public),
    Site::new("CDN-fronted, 12", 12, proxy),
    Site::new("database pool, 8", 8, pool),
    Site::new("mail server, 100", 100, mail),
];

/// A host and who offends there.
#[derive(Clone, Copy)]
pub struct Attack {
    pub site: Site,
    pub offenders: Offenders,
}

/// Those who have far more than their share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offenders {
    /// So many addresses, each with about so many connections.
    Addresses { n: usize, connections: u64 },
    /// A network of so many addresses with up to so many connections each. It
    /// is counted as one, as the networks of the others are.
    Network { addresses: u64, most: u64 },
}

/// How many connections an offender has.
pub const SIZES: [u64; 3] = [50, 150, 500];

/// Every host with one, five and ten offenders of each size, as long as they
/// are at most a sixth of all (beyond that they are the norm) or alone; and
/// two floods out of networks.
pub fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for site in ATTACKED {
        for n in [1, 5, 10].into_iter().filter(|&n| n == 1 || 6 * n <= site.addresses + n) {
            let of = |connections| Offenders::Addresses { n, connections };
            attacks.extend(SIZES.map(|size| Attack { site, offenders: of(size) }));
        }
    }
    // A fleet in a rented /24, each address of which is below the limit; and a
    // host that takes another address of its /64 for each connection.
    let fleet = Offenders::Network { addresses: 200, most: 3 };
    attacks
        .push(Attack { site: Site::new("/24 networks, 100", 100, neighbours), offenders: fleet });
    let many = Offenders::Network { addresses: 300, most: 1 };
    attacks.push(Attack { site: Site::new("/64 networks, 100", 100, browser), offenders: many });
    attacks
}

/// A provider's network, with one to three of a site's visitors in it.
fn neighbours(random: &mut Random, _: usize) -> Habit {
    let visitors = random.between(1, 3);
    ((0..visitors).map(|_| random.between(1, 6)).sum(), 0.6)
}

impl Offenders {
    /// Come to the crowd, and are there a minute later.
    pub fn join(self, random: &mut Random, crowd: &mut Vec<Visitor>) {
        let mut come = |at, connections| {
            let address = nth(OFFENDERS + at);
            crowd.push(Visitor { address, connections, stays: 1.0, offends: true });
        };
        match self {
            Self::Addresses { n, connections } => {
                // Give or take a tenth.
                let (least, most) = (connections * 9 / 10, connections * 11 / 10);
                (0..n).for_each(|at| come(at, random.between(least, most)));
            }
            Self::Network { addresses, most } => {
                come(0, (0..addresses).map(|_| random.between(1, most)).sum());
            }
        }
    }
}
