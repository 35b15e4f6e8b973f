//! A cut between one server and the others: it hears nothing of them and they nothing of it. Whoever asks it from outside
//! the group still reaches it.

use crate::servers::Server;
use capstan_proto::env::{BoxFuture, Listener, Net, RealNet, Stream};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Who is cut off at present. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Cut(Arc<Mutex<Option<String>>>);

impl Cut {
    /// Puts the links of servers that do not run yet under this cut.
    pub(crate) fn over(&self, servers: &mut [Server]) {
        for server in servers {
            let from = server.address().to_owned();
            server.env.net = Arc::new(Links { cut: self.clone(), from });
        }
    }

    pub(crate) fn off(&self, address: &str) {
        *self.0.lock().expect("no panic with it") = Some(address.to_owned());
    }

    pub(crate) fn heal(&self) {
        *self.0.lock().expect("no panic with it") = None;
    }

    fn divides(&self, from: &str, to: &str) -> bool {
        let cut = self.0.lock().expect("no panic with it");
        cut.as_deref().is_some_and(|cut| cut == from || cut == to)
    }
}

/// The links that one server opens.
struct Links {
    cut: Cut,
    from: String,
}

impl Net for Links {
    fn connect<'a>(&'a self, to: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = RealNet.connect(to).await?;
            let link = Link { cut: self.cut.clone(), ends: (self.from.clone(), to.to_owned()), stream };
            link.check()?;
            Ok(Box::new(link) as Stream)
        })
    }

    fn listen<'a>(&'a self, at: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        RealNet.listen(at)
    }
}

struct Link {
    cut: Cut,
    ends: (String, String),
    stream: Stream,
}

impl Link {
    fn check(&self) -> io::Result<()> {
        match self.cut.divides(&self.ends.0, &self.ends.1) {
            false => Ok(()),
            true => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
