//! Asks a data node, as a client would, whether it serves the whole cluster.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const QUESTION: &[u8] = b"*2\r\n$7\r\nCLUSTER\r\n$4\r\nINFO\r\n";
/// The reply is a few hundred bytes.
const ANSWER_MAX: usize = 16 << 10;
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Returns when the node says `cluster_state:ok`, or answers with an error of its own: then it was given a password,
/// and serves whoever knows it.
pub(super) async fn cluster_ok(port: u16) {
    loop {
        if let Ok(Ok(answer)) = tokio::time::timeout(ANSWER_LIMIT, ask(port)).await
            && (contains(&answer, b"cluster_state:ok") || answer.starts_with(b"-NOAUTH"))
        {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn ask(port: u16) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(QUESTION).await?;
    let mut answer = Vec::new();
    let mut part = [0; 1024];
    while answer.len() < ANSWER_MAX && !whole(&answer) {
        let count = stream.read(&mut part).await?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&part[..count]);
    }
    Ok(answer)
}

/// An error line, or a text whose last line is there.
fn whole(answer: &[u8]) -> bool {
    let error = answer.starts_with(b"-") && answer.ends_with(b"\r\n");
    error
        || contains(answer, b"cluster_state:") && answer.ends_with(b"\r\n\r\n")
        || contains(answer, b"cluster_state:ok\r\n")
        || contains(answer, b"cluster_state:fail\r\n")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
