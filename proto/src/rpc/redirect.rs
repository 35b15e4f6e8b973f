//! How a meta server that cannot answer says who can, and what an error says about the request.
//!
//! Pure: whoever asks keeps the list of servers and decides how long it goes on.

use tonic::{Code, Status};

/// The metadata key under which a server that does not lead names the one that does, as HOST:PORT.
const LEADER_KEY: &str = "x-leader";

/// "Ask this server": the request was not done here. Without a known leader the asker tries the next server.
#[must_use]
pub fn not_leader(leader: Option<&str>) -> Status {
    let Some(value) = leader.and_then(|address| address.parse().ok()) else {
        return Status::unavailable("this meta server does not lead the group and knows no leader");
    };
    let mut status = Status::failed_precondition("this meta server does not lead the group");
    status.metadata_mut().insert(LEADER_KEY, value);
    status
}

/// The address of the leader, if that is what an error says.
#[must_use]
pub fn leader(status: &Status) -> Option<&str> {
    let address = status.metadata().get(LEADER_KEY)?.to_str().ok()?;
    (!address.is_empty()).then_some(address)
}

/// Whether an error says nothing about the request but that this server did not answer it: another one may, and what
/// was asked may still have been done (CRATES 4: a cut shows as any of these).
#[must_use]
pub fn try_the_next(status: &Status) -> bool {
    match status.code() {
        Code::Unknown | Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// Whether the connection, or its handshake, did not come about: the request was never sent.
#[must_use]
pub fn never_sent(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<tonic::ConnectError>())
}

/// The innermost cause of an error: "transport error" alone helps nobody.
#[must_use]
pub fn reason(status: &Status) -> String {
    causes(status).last().map_or_else(|| status.message().to_owned(), ToString::to_string)
}

fn causes(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(std::error::Error::source(status), |error| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;
    use crate::env::Env;
    use crate::rpc::{transport, v1};

    #[test]
    fn a_follower_names_the_leader_and_without_one_the_next_server_is_tried() {
        assert_eq!(leader(&not_leader(Some("127.0.0.1:7051"))), Some("127.0.0.1:7051"));
        assert!(!try_the_next(&not_leader(Some("127.0.0.1:7051"))));
        assert!(leader(&not_leader(None)).is_none() && try_the_next(&not_leader(None)));
        assert!(try_the_next(&not_leader(Some("not\nASCII"))));
    }

    #[tokio::test]
    async fn a_request_to_a_server_that_is_not_there_was_never_sent() {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = nobody.local_addr().expect("bound").to_string();
        drop(nobody);
        let channel = transport::channel(&Env::real(), &Secret::NONE, &address).expect("an address");
        let mut admin = v1::admin_client::AdminClient::new(channel);
        let status = admin.members(v1::MembersRequest {}).await.expect_err("nobody listens");
        assert!(try_the_next(&status) && never_sent(&status), "{status:?}");
        assert!(reason(&status).contains("refused"), "{}", reason(&status));
    }
}
