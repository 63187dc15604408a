//! Web servers that answer as a test says.

use std::io::{Read, Write};
use std::net::TcpListener;

/// What a request is answered.
pub(crate) enum Answer {
    Found(Vec<u8>),
    Refused(u16),
}

/// Answers every request with `status`, for as long as the tests run. Gives its address.
pub(crate) fn refusing(status: u16) -> String {
    serving(move |_| Answer::Refused(status))
}

/// Answers every request, of which `answer` is given the head, for as long as the tests run. Gives
/// its address.
pub(crate) fn serving(answer: impl Fn(&str) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            let (status, content) = match answer(&String::from_utf8_lossy(&request[..length])) {
                Answer::Found(content) => ("200 Found".to_owned(), content),
                Answer::Refused(status) => (format!("{status} Refused"), Vec::new()),
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            let _ = stream.write_all(&content);
        }
    });
    address
}
