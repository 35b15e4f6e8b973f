//! What the servers say of themselves: versions, settings, and whether a primary has a replica that follows it.

use capstan_jepsen::cluster::ClusterClient;
use capstan_jepsen::connection::{CallError, Connection, Options};
use capstan_jepsen::slots::{Range, parse_slots};
use serde::Serialize;

/// A server, as the report names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) redis_version: String,
    /// Nothing if it is no Capstan.
    pub(crate) capstan_version: Option<String>,
    pub(crate) node_timeout_ms: String,
}

/// The value of a field of INFO.
pub(crate) fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// How many replicas follow a primary, by its INFO replication; nothing if it is none.
pub(crate) fn following(info: &str) -> Option<usize> {
    (field(info, "role") == Some("master")).then_some(())?;
    let replicas = info.lines().filter(|line| {
        let number = line.strip_prefix("slave").and_then(|rest| rest.split(':').next());
        number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
            && line.contains("state=online")
    });
    Some(replicas.count())
}

/// Who serves what, by the first node that answers.
pub(crate) async fn slots(nodes: &[String], options: &Options) -> Result<Vec<Range>, CallError> {
    let mut last = CallError::NotSent { to: "the cluster".into(), why: "no address was given".into() };
    for node in nodes {
        let asked = async {
            let mut connection = Connection::open(node, options).await?;
            connection.call(&["CLUSTER", "SLOTS"]).await
        };
        match asked.await {
            Ok(reply) => match parse_slots(&reply, node) {
                Some(ranges) if !ranges.is_empty() => return Ok(ranges),
                Some(_) | None => {
                    let why = format!("CLUSTER SLOTS gave {reply:?}");
                    last = CallError::NotSent { to: node.clone(), why };
                }
            },
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Asks one node for a text.
pub(crate) async fn text(node: &str, options: &Options, args: &[&str]) -> Result<String, CallError> {
    let mut connection = Connection::open(node, options).await?;
    let reply = connection.call(args).await?;
    Ok(reply.text().unwrap_or_default())
}

/// What every primary says of itself.
pub(crate) async fn servers(nodes: &[String], options: &Options) -> Result<Vec<Server>, CallError> {
    let mut client = ClusterClient::connect(nodes, options.clone()).await?;
    let mut servers = Vec::new();
    for address in client.nodes().to_vec() {
        let info = client.call_at(&address, &["INFO", "server"]).await?.text().unwrap_or_default();
        let timeout = client.call_at(&address, &["CONFIG", "GET", "cluster-node-timeout"]).await?;
        let timeout = timeout.items().and_then(|items| items.get(1)?.text()).unwrap_or_default();
        servers.push(Server {
            address,
            redis_version: field(&info, "redis_version").unwrap_or("unknown").to_owned(),
            capstan_version: field(&info, "capstan_version").map(str::to_owned),
            node_timeout_ms: timeout,
        });
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_replicas_that_are_online_follow_and_only_a_primary_has_any() {
        let info = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
                    slave0:ip=127.0.0.1,port=7003,state=online,offset=14,lag=0\r\n\
                    slave1:ip=127.0.0.1,port=7004,state=wait_bgsave,offset=0,lag=0\r\nslave_x:state=online\r\n";
        assert_eq!(following(info), Some(1));
        assert_eq!(following("role:slave\r\nslave0:state=online\r\n"), None);
        assert_eq!(field(info, "connected_slaves"), Some("2"));
        assert_eq!(field(info, "connected"), None);
    }
}
