//! Network databases: files in MaxMind DB format with the operators and countries of
//! addresses.
//!
//! The format is that of GeoLite2, DB-IP Lite, IPinfo Lite and others. Their records
//! differ in their fields; the fields of all of them are read.
use std::{
    collections::{BTreeSet, HashMap},
    io::{self, Read},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    analysis::{
        note::SourceDetail,
        operator::{Operator, OperatorSelector},
    },
    model::{network::Network, problem::Hints, sanitize},
    sys::trusted_file::{FilePolicy, open_named},
};

/// Maximum size of a file; the largest files with only operators or countries have less
/// than 100 MiB.
const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;
/// Maximum number of networks that are selected; no country has more.
const MAX_SELECTED_NETWORKS: usize = 2_000_000;
/// Maximum length of the type of a database in a message, in bytes.
const MAX_TYPE_BYTES: usize = 60;

/// A network database in memory.
#[derive(Debug)]
pub struct NetworkDb {
    path: PathBuf,
    reader: Reader<Vec<u8>>,
}

/// A record of a database; many networks may share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordId(usize);

/// An error in a network database. It does not include the causes that the parser of the
/// format reports, because they quote the content of the file.
#[derive(Debug, thiserror::Error)]
pub enum NetworkDbError {
    /// The file cannot be read.
    #[error("cannot read the network database {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file is too long.
    #[error("cannot read the network database {}: it is longer than 512 MiB", path.display())]
    TooLong {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file has another format, or lacks its end.
    #[error("cannot use the network database {}: not a complete MaxMind DB file", path.display())]
    Format {
        /// Path of the file.
        path: PathBuf,
    },
    /// More networks are selected than a country has.
    #[error(
        "cannot use the network database {}: more than {MAX_SELECTED_NETWORKS} of its networks \
         are excluded",
        path.display()
    )]
    TooManyNetworks {
        /// Path of the file.
        path: PathBuf,
    },
    /// The record of an address cannot be read.
    #[error("cannot read the record of {address} in the network database {}", path.display())]
    Record {
        /// Path of the file.
        path: PathBuf,
        /// Address or network that the record is about.
        address: Network,
    },
    /// The records are about something else.
    #[error(
        "cannot use the network database {}: its record of {address} has neither operator \
         nor country",
        path.display()
    )]
    Kind {
        /// Path of the file.
        path: PathBuf,
        /// Address or network that the record is about.
        address: Network,
    },
}

impl Hints for NetworkDbError {
    fn hints(&self) -> Vec<String> {
        vec![match self {
            Self::Read { path, .. } => {
                format!(
                    "Check that it exists and that this user can read it: ls -l {}",
                    path.display()
                )
            }
            Self::TooLong { .. } | Self::Kind { .. } => {
                "Name a database of autonomous systems or countries, such as GeoLite2-ASN.mmdb."
                    .to_owned()
            }
            Self::Format { .. } => {
                "Unpack a file that ends in .gz or .tar.gz; download an incomplete file again."
                    .to_owned()
            }
            Self::Record { .. } => "The file is damaged: download it again.".to_owned(),
            Self::TooManyNetworks { .. } => {
                "Exclude fewer operators and countries. If only a few are excluded, the file is \
                 damaged: download it again."
                    .to_owned()
            }
        }]
    }
}

/// The fields of a record that are used, and the fields that show that a record without them
/// is about operators or countries.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Record<'a> {
    // GeoLite2-ASN, DB-IP ASN Lite.
    #[serde(borrow)]
    autonomous_system_number: Option<AsNumber<'a>>,
    autonomous_system_organization: Option<&'a str>,
    // IPinfo Lite and others.
    #[serde(borrow)]
    asn: Option<AsNumber<'a>>,
    as_name: Option<&'a str>,
    name: Option<&'a str>,
    country_code: Option<&'a str>,
    // A record in GeoLite2-Country and DB-IP Country Lite, a name or code elsewhere.
    #[serde(borrow)]
    country: Option<Country<'a>>,
    // GeoLite2-Country has addresses with only these fields.
    registered_country: Option<IgnoredAny>,
    continent: Option<IgnoredAny>,
    traits: Option<IgnoredAny>,
}

/// The number of an autonomous system: `64500` of any integer type, or `AS64500`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum AsNumber<'a> {
    Number(u32),
    Text(&'a str),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Country<'a> {
    Text(&'a str),
    Record {
        #[serde(borrow)]
        iso_code: Option<&'a str>,
    },
}

impl NetworkDb {
    /// Reads the database at `path`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or if it is not a MaxMind DB file.
    pub fn open(path: &Path) -> Result<Self, NetworkDbError> {
        let bytes = read_file(path)
            .map_err(|source| NetworkDbError::Read { path: path.to_owned(), source })?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(NetworkDbError::TooLong { path: path.to_owned() });
        }
        Self::new(path, bytes)
    }

    /// Creates a database from the content of the file at `path`.
    fn new(path: &Path, bytes: Vec<u8>) -> Result<Self, NetworkDbError> {
        let reader = Reader::from_source(bytes)
            .map_err(|_| NetworkDbError::Format { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), reader })
    }

    /// Returns path, type and build time of the database.
    #[must_use]
    pub fn detail(&self) -> SourceDetail {
        let metadata = self.reader.metadata();
        let database_type = sanitize::single_line(&metadata.database_type);
        SourceDetail::NetworkDb {
            path: self.path.clone(),
            database_type: sanitize::truncate(&database_type, MAX_TYPE_BYTES),
            build_time: metadata.build_epoch,
        }
    }

    /// Returns the operator of an address, or of all addresses of a network; `None` if it is
    /// not known, or if the addresses of the network have several records.
    ///
    /// # Errors
    ///
    /// Returns an error if the record cannot be read, or is about something else.
    pub fn operator_of(&self, peer: Network) -> Result<Option<Operator>, NetworkDbError> {
        let record = self.find(peer).map_err(|_| self.record_error(peer))?;
        record.map(|record| self.checked_operator(&record, peer)).transpose()
    }

    /// Returns the record of an address, for comparison with that of other addresses; `None`
    /// if the address has none.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is damaged.
    pub fn record_of(&self, address: IpAddr) -> Result<Option<RecordId>, NetworkDbError> {
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        let found = self.reader.lookup(address);
        let found = found.map_err(|_| self.record_error(Network::new(address, u8::MAX)))?;
        Ok(found.offset().map(RecordId))
    }

    /// Returns the networks whose operator or country one of `selectors` selects, and the
    /// selectors that select no network.
    ///
    /// # Errors
    ///
    /// Returns an error if a record cannot be read, or is about something else.
    pub fn networks_of<'a>(
        &self,
        selectors: &'a [OperatorSelector],
    ) -> Result<(Vec<Network>, BTreeSet<&'a OperatorSelector>), NetworkDbError> {
        let mut networks = Vec::new();
        let mut without_network: BTreeSet<_> = selectors.iter().collect();
        // Few records describe many networks: each is decoded once.
        let mut known = HashMap::new();
        let damaged = |_| NetworkDbError::Format { path: self.path.clone() };
        for found in self.reader.networks(WithinOptions::default()).map_err(damaged)? {
            let found = found.map_err(damaged)?;
            let network = found.network().map_err(damaged)?;
            let network = Network::new(network.ip(), network.prefix());
            let is_selected = match known.get(&found.offset()) {
                Some(&is_selected) => is_selected,
                None => {
                    let record = found.decode::<Record<'_>>();
                    let record = record.map_err(|_| self.record_error(network))?;
                    let operator =
                        record.map(|it| self.checked_operator(&it, network)).transpose()?;
                    let mut is_selected = false;
                    for selector in selectors {
                        if operator.as_ref().is_some_and(|it| selector.selects(it)) {
                            is_selected = true;
                            without_network.remove(selector);
                        }
                    }
                    known.insert(found.offset(), is_selected);
                    is_selected
                }
            };
            if is_selected {
                networks.push(network);
                if is_all_of_ipv4(network) {
                    networks.push(Network::new(Ipv4Addr::UNSPECIFIED.into(), 0));
                }
                if networks.len() > MAX_SELECTED_NETWORKS {
                    return Err(NetworkDbError::TooManyNetworks { path: self.path.clone() });
                }
            }
        }
        Ok((networks, without_network))
    }

    /// Returns the operator in a record.
    fn checked_operator(
        &self,
        record: &Record<'_>,
        address: Network,
    ) -> Result<Operator, NetworkDbError> {
        if record.is_known() {
            Ok(record.operator())
        } else {
            Err(NetworkDbError::Kind { path: self.path.clone(), address })
        }
    }

    fn record_error(&self, address: Network) -> NetworkDbError {
        NetworkDbError::Record { path: self.path.clone(), address }
    }

    fn find(&self, peer: Network) -> Result<Option<Record<'_>>, MaxMindDbError> {
        let address = peer.first_address();
        if address.is_ipv6() && self.reader.metadata().ip_version == 4 {
            return Ok(None);
        }
        let found = self.reader.lookup(address)?;
        if has_record_of_all(&found, peer)? { found.decode() } else { Ok(None) }
    }
}

/// Returns whether the network that was found contains all of `peer`. An IPv4 address
/// may be found in an IPv6 network that contains all of IPv4.
fn has_record_of_all(
    found: &LookupResult<'_, Vec<u8>>,
    peer: Network,
) -> Result<bool, MaxMindDbError> {
    let network = found.network()?;
    let is_all_of_ipv4 = network.is_ipv6() && peer.first_address().is_ipv4();
    Ok(is_all_of_ipv4 || network.prefix() <= peer.prefix_length())
}

/// Returns whether an IPv6 network has the record of all IPv4 addresses.
fn is_all_of_ipv4(network: Network) -> bool {
    let first = network.first_address();
    first == Ipv6Addr::UNSPECIFIED && network.prefix_length() <= 96
}

/// Reads a file, up to one byte more than a database may have.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_named(path, FilePolicy::default())?;
    let mut bytes = Vec::new();
    // One allocation: while a vector grows, it needs up to three times the memory.
    let n_bytes = file.metadata()?.len().min(MAX_FILE_BYTES) + 1;
    bytes.try_reserve_exact(usize::try_from(n_bytes).unwrap_or(usize::MAX))?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Record<'_> {
    /// Returns whether the record is about operators or countries.
    fn is_known(&self) -> bool {
        self.registered_country.is_some()
            || self.continent.is_some()
            || self.traits.is_some()
            || self.country.is_some()
            || self.country_code.is_some()
            || self.autonomous_system_number.is_some()
            || self.autonomous_system_organization.is_some()
            || self.asn.is_some()
            || self.as_name.is_some()
    }

    fn operator(&self) -> Operator {
        let asn = self.autonomous_system_number.as_ref().or(self.asn.as_ref());
        let country = match self.country {
            Some(Country::Text(text)) => Some(text),
            Some(Country::Record { iso_code }) => iso_code,
            None => None,
        };
        Operator::new(
            asn.and_then(AsNumber::number),
            self.autonomous_system_organization.or(self.as_name).or(self.name),
            self.country_code.or(country),
        )
    }
}

impl AsNumber<'_> {
    fn number(&self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => parse_asn(text),
        }
    }
}

/// Parses `AS64500` or `64500`.
fn parse_asn(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("AS").unwrap_or(text);
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ASN: &[u8] = include_bytes!("../../tests/fixtures/network_db/asn.mmdb");
    const ASN_IPV4: &[u8] = include_bytes!("../../tests/fixtures/network_db/asn-ipv4.mmdb");
    const COUNTRY: &[u8] = include_bytes!("../../tests/fixtures/network_db/country.mmdb");
    const COUNTRY_FLAT: &[u8] = include_bytes!("../../tests/fixtures/network_db/country-flat.mmdb");
    const IPINFO: &[u8] = include_bytes!("../../tests/fixtures/network_db/ipinfo.mmdb");
    const CONNECTION_TYPE: &[u8] =
        include_bytes!("../../tests/fixtures/network_db/connection-type.mmdb");

    fn database(bytes: &[u8]) -> NetworkDb {
        NetworkDb::new(Path::new("file"), bytes.to_vec()).expect("a database")
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: &[(&str, &str)]) {
        let database = database(bytes);
        for &(peer, expected) in expected {
            let found = match database.operator_of(peer.parse().expect("a network")) {
                Ok(Some(operator)) => operator.to_string(),
                Ok(None) => "-".to_owned(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{peer}");
        }
    }

    #[test]
    fn record_of_the_narrowest_network_counts() {
        check(
            ASN,
            &[
                ("203.0.113.7", "AS64500 Example Net"),
                ("203.0.113.128", "AS64501 Example Hosting Inc."),
                ("198.51.100.1", "AS64502 Beispiel Mobilfunk GmbH"),
                ("192.0.2.7", "AS64503"),
                ("192.0.3.7", "-"),
                ("2001:db8::7", "AS64502 Beispiel Mobilfunk GmbH"),
                ("2001:db8:1::7", "AS64501 Example Hosting Inc."),
                ("2001:db9::7", "-"),
            ],
        );
    }

    /// The first and the last address of 2001:db8::/32 have the same operator, and addresses
    /// between them have another operator.
    #[test]
    fn network_with_one_record_has_an_operator() {
        check(
            ASN,
            &[
                ("203.0.113.0/25", "AS64500 Example Net"),
                ("203.0.113.0/26", "AS64500 Example Net"),
                ("203.0.113.0/24", "-"),
                ("198.51.100.0/24", "AS64502 Beispiel Mobilfunk GmbH"),
                ("198.51.0.0/16", "-"),
                ("0.0.0.0/1", "-"),
                ("2001:db8:1:7::/64", "AS64501 Example Hosting Inc."),
                ("2001:db8::/32", "-"),
            ],
        );
    }

    #[test]
    fn fields_of_all_publishers_are_read() {
        check(ASN_IPV4, &[("203.0.113.7", "AS64500 Example Net"), ("2001:db8::7", "-")]);
        check(IPINFO, &[("203.0.113.200", "AS64501 Example Hosting Inc., FR"), ("8.8.8.8", "-")]);
        check(COUNTRY, &[("203.0.113.7", "DE"), ("192.0.2.7", ""), ("2001:db8::7", "AT")]);
        check(COUNTRY_FLAT, &[("203.0.113.200", "FR")]);
        check(
            CONNECTION_TYPE,
            &[
                (
                    "203.0.113.7",
                    "cannot use the network database file: its record of 203.0.113.7 has neither \
                     operator nor country",
                ),
                ("8.8.8.8", "-"),
            ],
        );
    }

    #[test]
    fn autonomous_system_numbers_are_parsed() {
        for (text, number) in [
            ("AS64500", Some(64500)),
            ("64500", Some(64500)),
            ("", None),
            ("AS", None),
            ("AS+1", None),
            ("AS4294967296", None),
        ] {
            assert_eq!(parse_asn(text), number, "{text}");
        }
    }

    #[test]
    fn incomplete_file_is_not_a_database() {
        for n_bytes in (0..ASN.len()).step_by(7) {
            let error = NetworkDb::new(Path::new("file"), ASN[..n_bytes].to_vec());
            assert!(matches!(error, Err(NetworkDbError::Format { .. })), "{n_bytes}");
        }
    }

    proptest! {
        /// A damaged file gives an error or wrong names. It does not panic or hang.
        #[test]
        fn damaged_file_does_not_panic(
            which in 0..4_usize,
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
            peer in any::<u128>(),
        ) {
            let mut bytes = [ASN, COUNTRY, IPINFO, ASN_IPV4][which].to_vec();
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            let Ok(database) = NetworkDb::new(Path::new("file"), bytes) else {
                return Ok(());
            };
            for address in [
                std::net::IpAddr::from([203, 0, 113, peer as u8]),
                std::net::IpAddr::from((peer as u32).to_be_bytes()),
                std::net::IpAddr::from(peer.to_be_bytes()),
                std::net::IpAddr::from([0x2001, 0xdb8, peer as u16, 0, 0, 0, 0, 7]),
            ] {
                for length in [8, 24, 32, 48, 128] {
                    let found = database.operator_of(Network::new(address, length));
                    if let Ok(Some(operator)) = found {
                        prop_assert!(operator.to_string().len() < 110);
                    }
                }
            }
        }
    }
}
