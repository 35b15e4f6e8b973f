//! How this node says it can be reached: what its settings announce, else what it is bound to.
//!
//! It decides nothing else, and looks at the settings each time, so that a change of them is seen.

use crate::config::Key;
use crate::core::NodeCore;
use capstan_proto::topology::{Addresses, EndpointType};
use std::net::IpAddr;

/// Peers connect to the client port plus this.
pub const PEER_PORT_OFFSET: u16 = 10_000;

/// The addresses of this node now. The address is empty while nothing says it: clients then keep the host they used.
#[must_use]
pub fn announced(core: &NodeCore) -> Addresses {
    let config = &core.config;
    let number = |key| u16::try_from(config.number(key)).unwrap_or_default();
    let bound = core.port.get().copied().unwrap_or_else(|| number(Key::Port));
    let port = match number(Key::ClusterAnnouncePort) {
        0 => bound,
        announced => announced,
    };
    let peer_bound = core.replication.peer_port.get().copied();
    let peer_port = match number(Key::ClusterAnnounceBusPort) {
        0 => peer_bound.unwrap_or_else(|| bound.saturating_add(PEER_PORT_OFFSET)),
        announced => announced,
    };
    let ip = config.text(Key::ClusterAnnounceIp);
    let preferred = match config.shown(Key::ClusterPreferredEndpointType).as_str() {
        "hostname" => EndpointType::Hostname,
        "unknown-endpoint" => EndpointType::UnknownEndpoint,
        _ => EndpointType::Ip,
    };
    Addresses {
        ip: if ip.is_empty() { first_bound(core) } else { ip.as_ref().clone() },
        port,
        peer_port,
        hostname: config.text(Key::ClusterAnnounceHostname).as_ref().clone(),
        preferred,
    }
}

/// The first address to listen on that others can dial.
fn first_bound(core: &NodeCore) -> String {
    let bound = core.config.bind_addresses();
    let numeric = |text: &String| text.parse::<IpAddr>().is_ok_and(|ip| !ip.is_unspecified());
    bound.into_iter().map(|(address, _)| address).find(numeric).unwrap_or_default()
}
