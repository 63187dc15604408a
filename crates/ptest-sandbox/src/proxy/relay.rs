//! Carries bytes between two connections until both directions have ended.
//!
//! Each direction has one buffer and ends by itself: who has said all it has to say can still listen. Nothing is looked at.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::wire::timespec;

const BUFFER: usize = 16 << 10;
/// How many reads and writes one direction has before it is the other's turn.
const TURN: usize = 16;

/// How long a connection stays on which one direction has ended and in the other nothing comes: who only forgot to close
/// would keep its place for ever.
const HALF_CLOSED: Duration = Duration::from_mins(10);

/// Relays until both directions have ended or one of the connections fails. `early` is what the client has said already.
pub(super) fn relay(client: &TcpStream, server: &TcpStream, early: Vec<u8>) -> io::Result<()> {
    for stream in [client, server] {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
    }
    let mut up = Flow::beginning_with(early);
    let mut down = Flow::beginning_with(Vec::new());
    loop {
        up.advance(client, server)?;
        down.advance(server, client)?;
        if up.has_ended && down.has_ended {
            return Ok(());
        }
        wait(
            [(client, &up, &down), (server, &down, &up)],
            up.has_ended || down.has_ended,
        )?;
    }
}

/// Waits until one of the connections can go on. Each comes with the flow that it feeds and the one that feeds it.
fn wait(ends: [(&TcpStream, &Flow, &Flow); 2], half_closed: bool) -> io::Result<()> {
    let mut polled: Vec<PollFd<'_>> = Vec::new();
    for (stream, from, to) in ends {
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, from.has_room());
        wanted.set(PollFlags::OUT, to.is_filled());
        // Of one of which nothing is wanted the kernel would still tell again and again that it has ended.
        if !wanted.is_empty() {
            polled.push(PollFd::from_borrowed_fd(stream.as_fd(), wanted));
        }
    }
    let limit = half_closed.then(|| timespec(HALF_CLOSED));
    match poll(&mut polled, limit.as_ref()) {
        Ok(0) => Err(ErrorKind::TimedOut.into()),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// One direction.
struct Flow {
    buffer: Vec<u8>,
    /// How much of the buffer has been passed on.
    sent: usize,
    /// Nothing more comes.
    is_last: bool,
    /// Everything has been passed on, its end too.
    has_ended: bool,
}

impl Flow {
    fn beginning_with(buffer: Vec<u8>) -> Self {
        Self {
            buffer,
            sent: 0,
            is_last: false,
            has_ended: false,
        }
    }

    fn is_filled(&self) -> bool {
        self.sent < self.buffer.len()
    }

    fn has_room(&self) -> bool {
        !self.is_last && !self.is_filled()
    }

    /// Passes on what can be without waiting, and no more than a few buffers: the other direction waits for it.
    fn advance(&mut self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        for _ in 0..TURN {
            if self.has_ended {
                break;
            }
            if self.is_filled() {
                match to.write(&self.buffer[self.sent..]) {
                    Ok(count) => self.sent += count,
                    Err(error) if is_pause(&error) => break,
                    // Who hears nothing any more may still have something to say.
                    Err(_) => self.end(),
                }
            } else if self.is_last {
                // As above.
                let _deaf = to.shutdown(Shutdown::Write);
                self.end();
            } else {
                self.buffer.resize(BUFFER, 0);
                self.sent = BUFFER;
                match from.read(&mut self.buffer) {
                    Ok(0) => self.is_last = true,
                    Ok(count) => {
                        self.buffer.truncate(count);
                        self.sent = 0;
                    }
                    Err(error) if is_pause(&error) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        *self = Self {
            is_last: true,
            has_ended: true,
            ..Self::beginning_with(Vec::new())
        };
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    /// A server that has heard enough answers and hangs up, as one does that refuses an upload.
    #[test]
    fn the_answer_of_who_hears_nothing_any_more_arrives() {
        let ((client, mut asking), (mut server, mut answering)) = (pair(), pair());
        server.write_all(b"unread").unwrap();
        answering.write_all(b"answer").unwrap();
        // With something unread the connection is not ended but reset.
        drop(answering);
        asking.write_all(b"more").unwrap();
        let _reset = relay(&client, &server, Vec::new());
        drop(client);
        let mut answer = [0; 6];
        asking.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }
}
