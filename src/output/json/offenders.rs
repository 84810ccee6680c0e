//! The alerts of a run as one JSON object on one line, for the program of `--exec`.
use serde::Serialize;

use super::{JsonServer, PROGRAM, SCHEMA_VERSION, protocol_name, serialize_line};
use crate::{
    alert_log::{
        entry::Alert,
        group_alert::{GroupAlert, GroupDetails},
    },
    analysis::peer_details::PeerDetails,
    output::report::Report,
};

/// Alerts of a run. Fields that are also in the report of the check have the same form there.
#[derive(Serialize)]
struct JsonAlerts<'a> {
    schema: u32,
    program: &'static str,
    status: String,
    message: String,
    timestamp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    servers: Vec<JsonServer<'a>>,
    offenders: Vec<JsonOffender<PeerDetails<'a>>>,
    /// Empty unless `--group-by` is set.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<JsonOffender<GroupDetails<'a>>>,
    /// Number of offenders that are not listed.
    omitted: usize,
}

#[derive(Serialize)]
struct JsonOffender<T> {
    #[serde(flatten)]
    details: T,
    limit: f64,
    consecutive: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    over_since: Option<u64>,
}

/// Returns the alerts of a run with a line end. `servers` are the names of the sampled
/// servers, even if the report does not list them.
#[must_use]
pub fn render_offenders(report: &Report, servers: &[String]) -> String {
    let listed = &report.observation.servers;
    let connections = report.views[0].sample.connections;
    serialize_line(&JsonAlerts {
        schema: SCHEMA_VERSION,
        program: PROGRAM,
        status: report.status().to_string(),
        message: super::text::status_text(report),
        timestamp: report.worst_view().sample.timestamp,
        protocol: protocol_name(report.protocol),
        servers: match servers {
            [name] if listed.is_empty() => vec![JsonServer { name, connections }],
            _ => listed.iter().map(JsonServer::new).collect(),
        },
        offenders: report.alerts.iter().map(JsonOffender::from_alert).collect(),
        groups: report.group_alerts.iter().map(JsonOffender::from_group_alert).collect(),
        omitted: report.n_omitted_alerts,
    })
}

impl<'a> JsonOffender<PeerDetails<'a>> {
    fn from_alert(Alert { peer, limit, consecutive, .. }: &'a Alert) -> Self {
        let over_since = peer.over.map(|streak| streak.since);
        let details = PeerDetails::new(peer);
        Self { details, limit: *limit, consecutive: *consecutive, over_since }
    }
}

impl<'a> JsonOffender<GroupDetails<'a>> {
    fn from_group_alert(alert: &'a GroupAlert) -> Self {
        let GroupAlert { peer, limit, consecutive, .. } = alert;
        let over_since = peer.over.map(|streak| streak.since);
        let details = alert.details();
        Self { details, limit: *limit, consecutive: *consecutive, over_since }
    }
}
