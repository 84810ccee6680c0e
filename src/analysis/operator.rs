//! The operator of an address: its autonomous system and its country.
use std::{fmt, str::FromStr};

use crate::model::{
    peer_id::{Group, GroupBy, MAX_GROUP_NAME_BYTES},
    sanitize,
};

/// Operator and country of an address, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operator {
    /// Number of the autonomous system, not 0.
    pub asn: Option<u32>,
    /// Name of the operator, sanitized.
    pub name: Option<String>,
    /// Code or name of the country, sanitized.
    pub country: Option<String>,
}

impl Operator {
    /// Returns the group of the operator's addresses, and the operator data that they have in
    /// common. Returns `None` if the operator or country is not known, or if `by` is another
    /// property.
    #[must_use]
    pub fn group(&self, by: GroupBy) -> Option<(Group, Self)> {
        let Self { asn, name, country } = self.clone();
        let (group_name, common) = match by {
            GroupBy::Asn => {
                let group_name = asn.map(|asn| format!("AS{asn}")).or(name.clone())?;
                (group_name, Self { asn, name, country: None })
            }
            GroupBy::Country => (country.clone()?, Self { country, ..Self::default() }),
            GroupBy::Label => return None,
        };
        Some((Group { by, name: group_name }, common))
    }

    /// Creates an operator from untrusted values. A value that is empty after sanitizing is
    /// treated as unknown.
    #[must_use]
    pub fn new(asn: Option<u32>, name: Option<&str>, country: Option<&str>) -> Self {
        Self {
            asn: asn.filter(|&asn| asn != 0),
            name: name.and_then(sanitize_name),
            country: country.and_then(sanitize_name),
        }
    }

    /// Returns whether neither operator nor country is known.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        *self == Self::default()
    }

    /// Adds the values that only `other` has. The number and the name of an autonomous system
    /// belong together, so both are taken from the same source.
    pub fn merge(&mut self, other: Self) {
        if self.asn.is_none() && self.name.is_none() {
            self.asn = other.asn;
            self.name = other.name;
        }
        if self.country.is_none() {
            self.country = other.country;
        }
    }
}

/// An operator or a country whose networks are excluded, written as `AS64500` or
/// `country:DE`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperatorSelector {
    /// Number of an autonomous system, not 0.
    Asn(u32),
    /// Code or name of a country, in lower case.
    Country(String),
}

/// Error for a text that is not a selector of operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an autonomous system or country; write AS64500 or country:DE")]
pub struct OperatorSelectorError;

impl OperatorSelector {
    /// Returns whether the networks of `operator` are selected.
    #[must_use]
    pub fn selects(&self, operator: &Operator) -> bool {
        match self {
            Self::Asn(asn) => operator.asn == Some(*asn),
            Self::Country(country) => {
                operator.country.as_ref().is_some_and(|it| it.to_lowercase() == *country)
            }
        }
    }
}

impl FromStr for OperatorSelector {
    type Err = OperatorSelectorError;

    /// Parses a selector in upper or lower case.
    fn from_str(text: &str) -> Result<Self, OperatorSelectorError> {
        let text = text.to_lowercase();
        let digits = text.strip_prefix("as").unwrap_or_default();
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let selector = if is_number {
            digits.parse().ok().filter(|&asn| asn != 0).map(Self::Asn)
        } else {
            let country = text.strip_prefix("country:").map(str::trim);
            country.filter(|it| !it.is_empty()).map(|it| Self::Country(it.to_owned()))
        };
        selector.ok_or(OperatorSelectorError)
    }
}

impl fmt::Display for OperatorSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asn(asn) => write!(f, "AS{asn}"),
            Self::Country(country) => write!(f, "country:{country}"),
        }
    }
}

/// Writes `AS64500 Example Net, DE`, without the parts that are not known.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.asn.map(|asn| format!("AS{asn}"));
        let autonomous_system: Vec<_> = number.into_iter().chain(self.name.clone()).collect();
        let mut parts = Vec::new();
        if !autonomous_system.is_empty() {
            parts.push(autonomous_system.join(" "));
        }
        parts.extend(self.country.clone());
        f.write_str(&parts.join(", "))
    }
}

/// Returns the sanitized name for the output; `None` if it is empty. Parentheses, commas and
/// semicolons are replaced because they end a name in the output. The name starts with a
/// letter or a digit, because a spreadsheet interprets a cell that starts with `=`, `+`, `-`
/// or `@` as a formula.
fn sanitize_name(name: &str) -> Option<String> {
    let name = name.replace([',', ';'], " ");
    let name = sanitize::single_line(&name).replace(['(', ')'], "?");
    let name = name.trim_start_matches(|it| !sanitize::is_visible_alphanumeric(it));
    if name.is_empty() { None } else { Some(sanitize::truncate(name, MAX_GROUP_NAME_BYTES)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_parts_are_shown() {
        let shown = |asn, name, country| Operator::new(asn, name, country).to_string();
        assert_eq!(shown(Some(64500), Some("Example Net"), Some("DE")), "AS64500 Example Net, DE");
        assert_eq!(shown(Some(64500), None, Some("DE")), "AS64500, DE");
        assert_eq!(shown(None, Some("Example Net"), None), "Example Net");
        assert_eq!(shown(None, None, Some("DE")), "DE");
        assert_eq!(shown(Some(0), Some(" \n"), Some("")), "");
        assert!(Operator::new(Some(0), Some("()"), None).name.is_none());
    }

    #[test]
    fn names_are_sanitized_and_truncated() {
        let name = |text| Operator::new(None, Some(text), None).name.unwrap_or_default();
        assert_eq!(name("Example, Inc."), "Example Inc.");
        assert_eq!(name("a|b (x), 192.0.2.1 (y);\n$z"), "a?b ?x? 192.0.2.1 ?y? ?z");
        assert_eq!(name("=-@+cmd"), "cmd");
        assert_eq!(name("-Reserved AS-"), "Reserved AS-");
        assert_eq!(name(&"x".repeat(99)).len(), MAX_GROUP_NAME_BYTES);
    }

    #[test]
    fn group_is_named_by_number_name_or_country() {
        let group = |operator: Operator, grouping| {
            operator.group(grouping).map(|(group, common)| format!("{}: {common}", group.name))
        };
        let both = Operator::new(Some(64500), Some("Example Net"), Some("DE"));
        let named = Operator::new(None, Some("Example Net"), None);
        let asn = GroupBy::Asn;
        assert_eq!(group(both.clone(), asn).as_deref(), Some("AS64500: AS64500 Example Net"));
        assert_eq!(group(named.clone(), asn).as_deref(), Some("Example Net: Example Net"));
        assert_eq!(group(both, GroupBy::Country).as_deref(), Some("DE: DE"));
        assert_eq!(group(named, GroupBy::Country), None);
    }

    #[test]
    fn selectors_are_parsed_and_compared() {
        let parse = |text: &str| text.parse::<OperatorSelector>().map(|it| it.to_string());
        assert_eq!(parse("as64500"), Ok("AS64500".to_owned()));
        assert_eq!(parse("Country: DE"), Ok("country:de".to_owned()));
        for text in ["AS", "AS0", "AS4294967296", "AS64500x", "64500", "country:", "country", ""] {
            assert_eq!(parse(text), Err(OperatorSelectorError), "{text}");
        }
        let operator = Operator::new(Some(64500), Some("Example Net"), Some("DE"));
        let selects = |text: &str| text.parse::<OperatorSelector>().unwrap().selects(&operator);
        assert_eq!(
            ["AS64500", "AS6450", "country:de", "country:D"].map(selects),
            [true, false, true, false]
        );
    }

    #[test]
    fn number_and_name_are_from_one_source() {
        let mut operator = Operator::new(Some(64500), None, None);
        operator.merge(Operator::new(Some(64501), Some("Other Net"), Some("DE")));
        assert_eq!(operator, Operator::new(Some(64500), None, Some("DE")));
        let mut operator = Operator::new(None, None, Some("FR"));
        operator.merge(Operator::new(Some(64501), Some("Other Net"), Some("DE")));
        assert_eq!(operator, Operator::new(Some(64501), Some("Other Net"), Some("FR")));
    }
}
