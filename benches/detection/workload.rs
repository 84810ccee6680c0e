//! Workloads: distributions of connections per client address.
//!
//! They were written before the rule, from the traffic of each kind of host, and are not fitted
//! to the rule.
use std::net::Ipv4Addr;

use super::random::Random;

/// One client address and its connections.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub address: Ipv4Addr,
    pub connections: u64,
    /// Probability that the client is still connected a minute later.
    pub stay_probability: f64,
    /// True if the check should report this client.
    pub is_offender: bool,
}

impl Client {
    /// Returns the offender with this index.
    pub fn offender(at: usize, connections: u64) -> Self {
        let address = address_at(FIRST_OFFENDER + at);
        Self { address, connections, stay_probability: 1.0, is_offender: true }
    }
}

/// A kind of host, without offenders.
#[derive(Clone, Copy)]
pub struct Site {
    pub name: &'static str,
    /// Number of client addresses.
    pub addresses: usize,
    /// Generates the behavior of the client with the given index.
    client: fn(&mut Random, usize) -> Behavior,
}

/// Number of connections, and the probability of being connected a minute later.
type Behavior = (u64, f64);

/// Sessions of administrators, a poller, an agent.
fn idle(random: &mut Random, _: usize) -> Behavior {
    (random.between(1, 4), 0.9)
}

/// HTTP/2: one connection for all requests; a second connection may be closing.
fn http2(random: &mut Random, _: usize) -> Behavior {
    (1 + u64::from(random.with_probability(0.3)), 0.5)
}

/// HTTP/1.1: browsers open up to 6 connections per host name, and images come from a
/// second host name.
fn browser(random: &mut Random, _: usize) -> Behavior {
    (random.between(1, 12), 0.5)
}

/// A public site over HTTP/1.1: mostly single browsers, some households with
/// several, and a few offices, schools and mobile networks behind one address.
///
/// Casado and Freedman (NSDI 2007) found that most NATs hide fewer than 7 hosts,
/// with a long tail. Here the number of simultaneously active users behind a gateway is
/// lognormal: above 6 for half of the gateways, and above 38 for one in 100. Gateways
/// are always connected.
fn public_site(random: &mut Random, _: usize) -> Behavior {
    let kind = random.unit();
    let (users, stay_probability) = if kind < 0.80 {
        (1, 0.5)
    } else if kind < 0.95 {
        (random.between(2, 4), 0.7)
    } else {
        (((6.0 * (0.8 * random.normal()).exp()).round() as u64).max(2), 0.95)
    };
    ((0..users).map(|_| random.between(1, 6)).sum(), stay_probability)
}

/// The proxies of a content delivery network, each with a pool of about 200 connections.
fn proxy(random: &mut Random, _: usize) -> Behavior {
    ((200.0 + 14.0 * random.normal()).round() as u64, 1.0)
}

/// A database: six application servers whose pools hold 20 to 40, a backup
/// client and a monitoring client.
fn pool(random: &mut Random, at: usize) -> Behavior {
    match at {
        0..6 => (random.between(20, 40), 1.0),
        _ => (random.between(1, 2), 0.9),
    }
}

/// A mail server: other servers deliver over one to three connections, people's
/// mail programs hold 2 to 10 for their mailboxes, and large providers and
/// mailing lists deliver over 5 to 20.
fn mail(random: &mut Random, _: usize) -> Behavior {
    let kind = random.unit();
    if kind < 0.6 {
        (random.between(1, 3), 0.2)
    } else if kind < 0.95 {
        (random.between(2, 10), 0.95)
    } else {
        (random.between(5, 20), 0.6)
    }
}

/// An API with customers of all sizes: a power law with exponent 2, which has infinite
/// variance.
fn customers(random: &mut Random, _: usize) -> Behavior {
    (random.unit().powf(-0.5) as u64, 0.9)
}

/// Lognormal counts with scale 1.2.
fn lognormal(random: &mut Random, _: usize) -> Behavior {
    ((3.0 * (1.2 * random.normal()).exp()).ceil() as u64, 0.7)
}

impl Site {
    const fn new(
        name: &'static str,
        addresses: usize,
        client: fn(&mut Random, usize) -> Behavior,
    ) -> Self {
        Self { name, addresses, client }
    }

    /// Generates the clients of one sample.
    pub fn clients(&self, random: &mut Random) -> Vec<Client> {
        (0..self.addresses).map(|at| self.client(random, at, at)).collect()
    }

    fn client(&self, random: &mut Random, at: usize, address: usize) -> Client {
        let (connections, stay_probability) = (self.client)(random, at);
        Client { address: address_at(address), connections, stay_probability, is_offender: false }
    }

    /// Generates the clients of the sample a minute later.
    ///
    /// A client that stays closes some connections and opens as many on average; a client
    /// that leaves is replaced by a new one.
    pub fn one_minute_later(&self, random: &mut Random, clients: &[Client]) -> Vec<Client> {
        let next = |(at, &old): (usize, &Client)| {
            if random.with_probability(old.stay_probability) {
                let connections =
                    random.binomial(old.connections, 0.7) + random.binomial(old.connections, 0.3);
                Client { connections: connections.max(1), ..old }
            } else {
                self.client(random, at, FIRST_NEW_CLIENT + at)
            }
        };
        clients.iter().enumerate().map(next).collect()
    }
}

/// First address index of clients that arrive later.
const FIRST_NEW_CLIENT: usize = 40_000;
/// First address index of offenders.
const FIRST_OFFENDER: usize = 80_000;

/// Returns an address of 198.18.0.0/15, which is reserved for benchmarks (RFC 2544).
fn address_at(address: usize) -> Ipv4Addr {
    let first = Ipv4Addr::new(198, 18, 0, 0).to_bits();
    Ipv4Addr::from_bits(first + u32::try_from(address).expect("a few thousand"))
}

/// Clean hosts that the false-alarm targets cover.
pub const BENIGN: [Site; 13] = [
    Site::new("idle host, 3", 3, idle),
    Site::new("idle host, 6", 6, idle),
    Site::new("HTTP/2 site, 50", 50, http2),
    Site::new("HTTP/2 site, 1000", 1000, http2),
    Site::new("browsers, 10", 10, browser),
    Site::new("browsers, 100", 100, browser),
    Site::new("browsers, 2000", 2000, browser),
    Site::new("NAT gateways, 30", 30, public_site),
    Site::new("NAT gateways, 300", 300, public_site),
    Site::new("NAT gateways, 5000", 5000, public_site),
    Site::new("CDN-fronted, 12", 12, proxy),
    Site::new("database pool, 8", 8, pool),
    Site::new("mail server, 100", 100, mail),
];

/// Harder clean hosts, which the targets do not cover.
pub const HARD: [Site; 4] = [
    Site::new("power law, 100", 100, customers),
    Site::new("power law, 1000", 1000, customers),
    Site::new("lognormal 1.2, 30", 30, lognormal),
    Site::new("lognormal 1.2, 1000", 1000, lognormal),
];

/// Hosts that offenders are added to.
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
    Site::new("NAT gateways, 30", 30, public_site),
    Site::new("NAT gateways, 300", 300, public_site),
    Site::new("NAT gateways, 1000", 1000, public_site),
    Site::new("CDN-fronted, 12", 12, proxy),
    Site::new("database pool, 8", 8, pool),
    Site::new("mail server, 100", 100, mail),
];

/// A host and its offenders.
#[derive(Clone, Copy)]
pub struct Attack {
    pub site: Site,
    pub offenders: Offenders,
}

/// Clients with far more connections than the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offenders {
    /// `n` addresses with about `connections` connections each.
    Addresses { n: usize, connections: u64 },
    /// A network of `addresses` addresses with up to `max_connections` connections each.
    /// Like the networks of the other clients, it is counted as one.
    Network { addresses: u64, max_connections: u64 },
}

/// Numbers of connections of an offender.
pub const SIZES: [u64; 3] = [50, 150, 500];

/// Returns every host with one, five and ten offenders of each size, except several offenders
/// that are more than a sixth of all clients and therefore normal; and two floods from
/// networks.
pub fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for site in ATTACKED {
        for n in [1, 5, 10].into_iter().filter(|&n| n == 1 || 6 * n <= site.addresses + n) {
            let of = |connections| Offenders::Addresses { n, connections };
            attacks.extend(SIZES.map(|size| Attack { site, offenders: of(size) }));
        }
    }
    // A fleet in a rented /24, each address of which is below the limit; and a host that
    // uses another address of its /64 for each connection.
    let fleet = Offenders::Network { addresses: 200, max_connections: 3 };
    attacks.push(Attack {
        site: Site::new("/24 networks, 100", 100, provider_network),
        offenders: fleet,
    });
    let many = Offenders::Network { addresses: 300, max_connections: 1 };
    attacks.push(Attack { site: Site::new("/64 networks, 100", 100, browser), offenders: many });
    attacks
}

/// A provider's network with one to three clients of the site.
fn provider_network(random: &mut Random, _: usize) -> Behavior {
    let visitors = random.between(1, 3);
    ((0..visitors).map(|_| random.between(1, 6)).sum(), 0.6)
}

impl Offenders {
    /// Adds the offenders to `clients`. All of them stay for the second sample.
    pub fn add_to(self, random: &mut Random, clients: &mut Vec<Client>) {
        let mut add = |at, connections| clients.push(Client::offender(at, connections));
        match self {
            Self::Addresses { n, connections } => {
                // Within 10 % of `connections`.
                let (min, max) = (connections * 9 / 10, connections * 11 / 10);
                (0..n).for_each(|at| add(at, random.between(min, max)));
            }
            Self::Network { addresses, max_connections } => {
                add(0, (0..addresses).map(|_| random.between(1, max_connections)).sum());
            }
        }
    }
}
