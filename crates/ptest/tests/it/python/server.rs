//! A web server that refuses everything.

use std::io::{Read, Write};
use std::net::TcpListener;

/// Answers every request with `status`, for as long as the tests run. Gives its address.
pub(crate) fn refusing(status: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = write!(
                stream,
                "HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
        }
    });
    address
}
