//! `access_log.syslog`: messages to syslog servers, in this process and real ones.

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;

use serde_json::Value;

use crate::harness::{
    Directory, Origin, Port, Proxy, ProxyBuilder, Service, TIMEOUT, command, eventually,
};

/// A message of RFC 5424, without structured data.
#[derive(Debug)]
struct Message {
    priority: u8,
    event: String,
    record: Value,
}

impl Message {
    #[track_caller]
    fn parse(text: &str, proxy: &Proxy) -> Self {
        let (priority, rest) = text.strip_prefix('<').unwrap().split_once('>').unwrap();
        let mut fields = rest.splitn(8, ' ');
        let mut next = || fields.next().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(next(), "1", "{text}");
        let time = next();
        assert!(time.ends_with('Z') && time.len() == 24, "{text}");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(next(), host.trim(), "{text}");
        assert_eq!(next(), "reseal", "{text}");
        assert_eq!(next(), proxy.pid().to_string(), "{text}");
        let event = next().to_owned();
        assert_eq!(next(), "-", "{text}");
        Self {
            priority: priority.parse().unwrap(),
            event,
            record: serde_json::from_str(next()).unwrap(),
        }
    }
}

fn draft(origin: &Origin, syslog: &str) -> ProxyBuilder {
    Proxy::builder()
        .top(&format!("access_log: {{ syslog: {{ {syslog} }} }}"))
        .admin()
        .forward(origin)
}

#[track_caller]
fn exchange(proxy: &Proxy) {
    let client = proxy.dial("forward");
    client.must_echo(b"x");
    client.end();
    client.receive_to_end();
}

/// The next message on a stream, after its length.
fn counted(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut length = Vec::new();
    if stream.read_until(b' ', &mut length).unwrap() == 0 {
        return None;
    }
    let length: usize = String::from_utf8(length)
        .unwrap()
        .trim_end()
        .parse()
        .unwrap();
    let mut message = vec![0; length];
    stream.read_exact(&mut message).unwrap();
    Some(String::from_utf8(message).unwrap())
}

/// The records of several connections may be written in another order than the connections began.
#[track_caller]
fn must_be_the_records(proxy: &Proxy, messages: &[String]) {
    let records = proxy.outcomes(messages.len());
    for message in messages {
        let record = Message::parse(message, proxy).record;
        let same = records.iter().find(|written| written["id"] == record["id"]);
        assert_eq!(same.map(|written| &written.0), Some(&record));
    }
}

fn accept(server: &TcpListener) -> BufReader<TcpStream> {
    let (stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    BufReader::new(stream)
}

#[test]
fn a_unix_socket_gets_each_record_in_a_datagram_of_its_own_beside_the_output() {
    let origin = Origin::echo();
    let directory = Directory::new();
    let path = directory.join("log");
    let server = UnixDatagram::bind(&path).unwrap();
    server.set_read_timeout(Some(TIMEOUT)).unwrap();
    let proxy = draft(&origin, &format!("to: \"unix:{}\"", path.display())).start();
    for _ in 0..3 {
        exchange(&proxy);
        let mut buffer = [0; 65_536];
        let count = server.recv(&mut buffer).unwrap();
        let message = Message::parse(std::str::from_utf8(&buffer[..count]).unwrap(), &proxy);
        // local0 and informational.
        assert_eq!(
            (message.priority, message.event.as_str()),
            (16 * 8 + 6, "close")
        );
        assert_eq!(message.record, proxy.outcome().0);
    }
}

#[test]
fn udp_has_the_facility_and_a_fault_is_a_notice() {
    let origin = Origin::echo();
    let server = UdpSocket::bind("127.0.0.1:0").unwrap();
    server.set_read_timeout(Some(TIMEOUT)).unwrap();
    let address = server.local_addr().unwrap();
    let syslog = format!("{{ to: \"udp:{address}\", facility: local3 }}");
    let proxy = Proxy::builder()
        .top(&format!("access_log: {{ syslog: {syslog} }}"))
        .passthrough("a.test", &origin)
        .forward(&origin)
        .start();
    let next = || {
        let mut buffer = [0; 65_536];
        let count = server.recv(&mut buffer).unwrap();
        Message::parse(std::str::from_utf8(&buffer[..count]).unwrap(), &proxy)
    };
    exchange(&proxy);
    assert_eq!(next().priority, 19 * 8 + 6);
    let client = proxy.dial("edge");
    client.write_raw(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let message = next();
    assert_eq!(message.record["fault"], "client");
    assert_eq!(message.priority, 19 * 8 + 5);
}

#[test]
fn tcp_counts_octets_and_comes_back_after_the_server_has_gone() {
    let origin = Origin::echo();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let proxy = draft(&origin, &format!("to: \"tcp:{address}\"")).start();
    exchange(&proxy);
    let mut first = accept(&server);
    let mut seen = vec![counted(&mut first).unwrap()];
    exchange(&proxy);
    seen.push(counted(&mut first).unwrap());
    drop(first);
    exchange(&proxy);
    let mut second = accept(&server);
    seen.push(counted(&mut second).unwrap());
    must_be_the_records(&proxy, &seen);
    let lost = proxy
        .metrics()
        .count("reseal_log_dropped_total", &[("log", "syslog")]);
    assert_eq!(lost, 0.0);
}

#[test]
fn a_server_that_comes_later_gets_what_has_waited_and_the_log_says_so() {
    let origin = Origin::echo();
    let port = Port::reserve();
    let proxy = draft(&origin, &format!("to: \"tcp:{}\"", port.address())).start();
    exchange(&proxy);
    exchange(&proxy);
    let failed = proxy.log_line(|line| line.contains("records of the access log cannot be sent"));
    assert!(
        failed.contains(&format!("tcp:{}", port.address())),
        "{failed}"
    );
    let server = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    server.set_reuse_address(true).unwrap();
    server.bind(&port.address().into()).unwrap();
    server.listen(8).unwrap();
    let mut stream = accept(&server.into());
    let seen: Vec<_> = (0..2).map(|_| counted(&mut stream).unwrap()).collect();
    must_be_the_records(&proxy, &seen);
    proxy.log_line(|line| line.contains("records of the access log are sent again"));
}

/// The server accepts and reads nothing.
#[test]
fn a_server_that_takes_nothing_holds_up_neither_connections_nor_the_end_of_the_process() {
    let origin = Origin::echo();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    socket2::SockRef::from(&server)
        .set_recv_buffer_size(4096)
        .unwrap();
    let mut proxy = draft(&origin, &format!("to: \"tcp:{address}\"")).start();
    let _mute = {
        exchange(&proxy);
        server.accept().unwrap()
    };
    for _ in 0..300 {
        exchange(&proxy);
    }
    assert_eq!(proxy.outcomes(301).len(), 301);
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn the_last_records_are_sent_before_the_process_ends() {
    let origin = Origin::echo();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut proxy = draft(&origin, &format!("to: \"tcp:{address}\"")).start();
    for _ in 0..5 {
        exchange(&proxy);
    }
    proxy.signal(rustix::process::Signal::TERM);
    assert_eq!(proxy.exit_code(), 0);
    let mut stream = accept(&server);
    let mut count = 0;
    while counted(&mut stream).is_some() {
        count += 1;
    }
    assert_eq!(count, 5);
}

/// rsyslog parses the messages as RFC 5424, on each of the three ways.
#[test]
fn rsyslog_takes_messages_by_unix_socket_udp_and_tcp() {
    let origin = Origin::echo();
    let directory = Directory::new();
    let (socket, out) = (directory.join("log"), directory.join("out"));
    // An address that no other test uses, so that the port is free for UDP, too.
    let udp = |port: u16| format!("127.77.{}.{}", port >> 8, port & 0xff);
    let rsyslog = Service::start(|port| {
        let config = format!(
            "global(workDirectory=\"{dir}\")
module(load=\"imuxsock\" SysSock.Use=\"off\")
module(load=\"imudp\")
module(load=\"imptcp\")
input(type=\"imuxsock\" Socket=\"{socket}\" UseSpecialParser=\"off\" ParseHostname=\"on\")
input(type=\"imudp\" address=\"{udp}\" port=\"{port}\")
input(type=\"imptcp\" address=\"127.0.0.1\" port=\"{port}\")
template(name=\"fields\" type=\"string\" string=\"%syslogfacility-text% %syslogseverity-text% %app-name% \
%procid% %msgid% %structured-data% %msg%\\n\")
action(type=\"omfile\" file=\"{out}\" template=\"fields\")
",
            dir = directory.path().display(),
            socket = socket.display(),
            udp = udp(port),
            out = out.display(),
        );
        let config = directory.write("rsyslog.conf", config);
        let mut command = command("rsyslogd");
        command.args(["-n", "-f"]).arg(config);
        command.arg("-i").arg(directory.join("pid"));
        command
    });
    let port = rsyslog.port();
    eventually("rsyslog listens", || socket.exists());
    for to in [
        format!("unix:{}", socket.display()),
        format!("udp:{}:{port}", udp(port)),
        format!("tcp:127.0.0.1:{port}"),
    ] {
        let proxy = draft(&origin, &format!("to: \"{to}\", facility: local5")).start();
        exchange(&proxy);
        let record = proxy.outcome();
        let mut line = String::new();
        eventually("rsyslog has written it", || {
            let written = std::fs::read_to_string(&out).unwrap_or_default();
            let found = written
                .lines()
                .find(|line| line.contains(record.text("id")));
            found.is_some_and(|found| {
                found.clone_into(&mut line);
                true
            })
        });
        let head = format!("local5 info reseal {} close - ", proxy.pid());
        let json = line
            .strip_prefix(&head)
            .unwrap_or_else(|| panic!("{to}: {line}"));
        let written: Value = serde_json::from_str(json.trim_start()).unwrap();
        assert_eq!(written, record.0, "{to}");
    }
}
