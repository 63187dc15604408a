//! Frames on a stream socket: a header, a message, and descriptors beside the first byte.
//!
//! The client side blocks, always until a deadline; init's side never blocks and keeps what has
//! arrived in an [`Inbox`]. What messages mean is [`crate::protocol`]'s business.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::protocol::VERSION;

/// Most bytes of one message.
const MAX_BODY: usize = 16 << 20;
/// Most descriptors of one message.
const MAX_DESCRIPTORS: usize = 16;
/// Length, version and number of descriptors.
pub(crate) const HEADER: usize = 8;

/// Why a frame could not be sent or received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The other side is gone.
    #[error("the connection is closed")]
    Closed,
    /// The deadline has passed.
    #[error("no answer in time")]
    Deadline,
    /// The other side speaks another version.
    #[error("the other side speaks version {0}")]
    Version(u16),
    /// The bytes are not a message.
    #[error("malformed message")]
    Malformed,
    /// The system refused.
    #[error("use the connection")]
    Io(#[source] io::Error),
}

impl From<Errno> for WireError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Closed,
            Errno::AGAIN => Self::Deadline,
            other => Self::Io(other.into()),
        }
    }
}

/// Sends one message. Waits for room until the deadline; without one it does not wait at all.
pub(crate) fn send<T: Serialize>(
    socket: BorrowedFd<'_>,
    message: &T,
    descriptors: &[BorrowedFd<'_>],
    deadline: Option<Instant>,
) -> Result<(), WireError> {
    let frame = frame(message, descriptors.len())?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut sent = 0;
    while sent < frame.len() {
        let mut control = SendAncillaryBuffer::new(&mut space);
        if sent == 0 && !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(socket, &[IoSlice::new(&frame[sent..])], &mut control, flags) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let deadline = deadline.ok_or(WireError::Deadline)?;
                wait_until(socket, PollFlags::OUT, deadline)?;
            }
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

/// A message with its header, as it is sent with so many descriptors.
pub(crate) fn frame<T: Serialize>(message: &T, descriptors: usize) -> Result<Vec<u8>, WireError> {
    let mut frame =
        postcard::to_extend(message, vec![0; HEADER]).map_err(|_| WireError::Malformed)?;
    let body = frame.len() - HEADER;
    if body > MAX_BODY || descriptors > MAX_DESCRIPTORS {
        return Err(WireError::Malformed);
    }
    frame[..4].copy_from_slice(&(body as u32).to_le_bytes());
    frame[4..6].copy_from_slice(&VERSION.to_le_bytes());
    frame[6..8].copy_from_slice(&(descriptors as u16).to_le_bytes());
    Ok(frame)
}

/// Receives one message, waiting until the deadline; `None` waits for ever.
pub(crate) fn receive<T: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    inbox: &mut Inbox,
    deadline: Option<Instant>,
) -> Result<(T, Vec<OwnedFd>), WireError> {
    loop {
        if let Some(message) = inbox.next()? {
            return Ok(message);
        }
        match deadline {
            Some(deadline) => wait_until(socket, PollFlags::IN, deadline)?,
            None => wait_for(socket, PollFlags::IN, None)?,
        }
        if inbox.fill(socket)? == Filled::Closed {
            return Err(WireError::Closed);
        }
    }
}

/// What has arrived and has not been taken yet.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    descriptors: VecDeque<OwnedFd>,
}

/// Whether more can come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Open,
    Closed,
}

impl Inbox {
    /// Takes in what the socket has, without waiting.
    pub(crate) fn fill(&mut self, socket: BorrowedFd<'_>) -> Result<Filled, WireError> {
        let mut buffer = [0; 16 << 10];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let count = match recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut buffer)],
            &mut control,
            flags,
        ) {
            Ok(received) => received.bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Filled::Open),
            Err(Errno::CONNRESET) => return Ok(Filled::Closed),
            Err(other) => return Err(other.into()),
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        // Those of a message that has begun, and of one that begins now: more belong to none.
        if self.descriptors.len() > 2 * MAX_DESCRIPTORS {
            return Err(WireError::Malformed);
        }
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(if count == 0 {
            Filled::Closed
        } else {
            Filled::Open
        })
    }

    /// Whether nothing has arrived that was not taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes in bytes that came in another way.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next complete message out.
    pub(crate) fn next<T: DeserializeOwned>(
        &mut self,
    ) -> Result<Option<(T, Vec<OwnedFd>)>, WireError> {
        let Some((header, rest)) = self.bytes.split_at_checked(HEADER) else {
            return Ok(None);
        };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let version = u16::from_le_bytes([header[4], header[5]]);
        let count = usize::from(u16::from_le_bytes([header[6], header[7]]));
        if version != VERSION {
            return Err(WireError::Version(version));
        }
        if length > MAX_BODY || count > MAX_DESCRIPTORS {
            return Err(WireError::Malformed);
        }
        let Some(body) = rest.get(..length) else {
            return Ok(None);
        };
        let message = postcard::from_bytes(body).map_err(|_| WireError::Malformed)?;
        if self.descriptors.len() < count {
            return Err(WireError::Malformed);
        }
        self.bytes.drain(..HEADER + length);
        Ok(Some((message, self.descriptors.drain(..count).collect())))
    }
}

/// Waits until the descriptor is ready or the time has passed; `None` waits for ever.
pub(crate) fn wait_for(
    descriptor: impl AsFd,
    events: PollFlags,
    limit: Option<Duration>,
) -> Result<(), WireError> {
    // Beyond what the clock can tell is for ever.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        let timeout =
            deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
        match poll(&mut [PollFd::new(&descriptor, events)], timeout.as_ref()) {
            Ok(0) => return Err(WireError::Deadline),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(other) => return Err(WireError::Io(other.into())),
        }
    }
}

/// A duration in the kernel's form; too long ones become the longest.
pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

fn wait_until(
    descriptor: impl AsFd,
    events: PollFlags,
    deadline: Instant,
) -> Result<(), WireError> {
    wait_for(
        descriptor,
        events,
        Some(deadline.saturating_duration_since(Instant::now())),
    )
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .unwrap()
    }

    #[test]
    fn messages_arrive_whole_with_their_own_descriptors() {
        let (left, right) = pair();
        let null = std::fs::File::open("/dev/null").unwrap();
        send(left.as_fd(), &"first", &[null.as_fd(), null.as_fd()], None).unwrap();
        send(left.as_fd(), &"second", &[], None).unwrap();
        send(left.as_fd(), &"third", &[null.as_fd()], None).unwrap();

        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        for _ in 0..3 {
            let (text, descriptors): (String, _) =
                receive(right.as_fd(), &mut inbox, None).unwrap();
            seen.push((text, descriptors.len()));
        }
        assert_eq!(
            seen,
            [
                ("first".into(), 2),
                ("second".into(), 0),
                ("third".into(), 1)
            ]
        );
    }

    #[test]
    fn a_length_beyond_the_bound_is_malformed_before_any_memory_is_taken() {
        let mut inbox = Inbox {
            bytes: vec![255, 255, 255, 255, VERSION as u8, 0, 0, 0],
            ..Inbox::default()
        };
        assert!(matches!(inbox.next::<String>(), Err(WireError::Malformed)));
    }

    #[test]
    fn another_version_is_named() {
        let mut inbox = Inbox {
            bytes: vec![1, 0, 0, 0, 77, 0, 0, 0, 0],
            ..Inbox::default()
        };
        assert!(matches!(
            inbox.next::<String>(),
            Err(WireError::Version(77))
        ));
    }

    #[test]
    fn a_closed_connection_and_a_silent_one_are_told_apart() {
        let (left, right) = pair();
        let now = Some(Instant::now());
        let silent = receive::<String>(right.as_fd(), &mut Inbox::default(), now);
        assert!(matches!(silent, Err(WireError::Deadline)));
        drop(left);
        let closed = receive::<String>(right.as_fd(), &mut Inbox::default(), None);
        assert!(matches!(closed, Err(WireError::Closed)));
    }

    #[test]
    fn a_message_larger_than_the_socket_buffer_passes() {
        let (left, right) = pair();
        let text = "x".repeat(4 << 20);
        let deadline = Instant::now() + Duration::from_secs(20);
        let sender = std::thread::spawn({
            let text = text.clone();
            move || send(left.as_fd(), &text, &[], Some(deadline)).unwrap()
        });
        let (received, _): (String, _) =
            receive(right.as_fd(), &mut Inbox::default(), Some(deadline)).unwrap();
        sender.join().unwrap();
        assert_eq!(received, text);
    }
}
