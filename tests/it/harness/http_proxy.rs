//! An HTTP proxy for CONNECT.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::{Origin, TIMEOUT};

/// An HTTP proxy. It answers each CONNECT by `answer`, or connects to the origin and answers 200.
pub struct HttpProxy {
    pub address: SocketAddr,
    requests: Receiver<String>,
    answer: Arc<Mutex<Option<&'static [u8]>>>,
}

impl HttpProxy {
    pub fn new(origin: &Origin) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        let answer = Arc::<Mutex<Option<&'static [u8]>>>::default();
        let (answers, origin) = (Arc::clone(&answer), origin.listen_addr().to_string());
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, sender) = (client.unwrap(), sender.clone());
                let (answers, origin) = (Arc::clone(&answers), origin.clone());
                thread::spawn(move || {
                    let request = head(&client);
                    if request.is_empty() {
                        return;
                    }
                    let answer = *answers.lock().unwrap();
                    let _ = sender.send(request);
                    match answer {
                        Some(answer) => {
                            let _ = (&client).write_all(answer);
                            let _ = (&client).read(&mut [0; 64]);
                        }
                        None => relay(client, TcpStream::connect(origin).unwrap()),
                    }
                });
            }
        });
        Self {
            address,
            requests,
            answer,
        }
    }

    pub fn answers(&self, answer: &'static [u8]) {
        *self.answer.lock().unwrap() = Some(answer);
    }

    /// The next request that it got.
    #[track_caller]
    pub fn request(&self) -> String {
        self.requests.recv_timeout(TIMEOUT).unwrap()
    }

    /// TLS to an origin with a certificate for `origin.test`, over this proxy.
    pub fn origin_tls(&self, more: &str) -> String {
        format!(
            "{{ ca: origin-ca.pem, server_name: origin.test, negotiate: {{ connect: {{ proxy: \"{}\"{more} }} }} }}",
            self.address
        )
    }
}

/// Reads a request up to its empty line, and no byte beyond it.
fn head(mut stream: &TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|len| len == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn relay(mut client: TcpStream, origin: TcpStream) {
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .unwrap();
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Write);
        })
    };
    copy(client.try_clone().unwrap(), origin.try_clone().unwrap());
    copy(origin, client);
}
