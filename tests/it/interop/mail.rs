//! Mail servers with the clients of Python and OpenSSL, in every mode, with TLS 1.2 and 1.3.

use std::process::Command;

use super::negotiate::{edge, s_client, sealed, with_tls};
use super::services::with_certificate;
use crate::harness::{
    Directory, Finished, Proxy, Service, at_once, command, finish, give_to, is_root,
};

/// The clients of one protocol. Before TLS there is nothing but the way to it.
const CLIENT: &str = "import imaplib, poplib, smtplib, ssl, sys\n\
    protocol, port, trust = sys.argv[1], int(sys.argv[2]), sys.argv[3]\n\
    def smtp(context):\n\
    \x20   with smtplib.SMTP('localhost', port, 'client.test', timeout=30) as server:\n\
    \x20       server.ehlo()\n\
    \x20       assert server.has_extn('starttls'), server.esmtp_features\n\
    \x20       assert server.docmd('MAIL FROM:<a@localhost>')[0] == 530\n\
    \x20       server.starttls(context=context)\n\
    \x20       print(server.sock.version())\n\
    \x20       server.sendmail('a@localhost', ['b@localhost'], 'Subject: it\\r\\n\\r\\n' + 'a line\\r\\n' * 20000)\n\
    def imap(context):\n\
    \x20   server = imaplib.IMAP4('localhost', port, timeout=30)\n\
    \x20   assert {'STARTTLS', 'LOGINDISABLED'} <= set(server.capabilities), server.capabilities\n\
    \x20   server.starttls(ssl_context=context)\n\
    \x20   print(server.sock.version())\n\
    \x20   assert 'AUTH=PLAIN' in server.capabilities, server.capabilities\n\
    \x20   assert server.noop()[0] == 'OK'\n\
    \x20   server.logout()\n\
    def pop3(context):\n\
    \x20   server = poplib.POP3('localhost', port, timeout=30)\n\
    \x20   assert list(server.capa()) == ['STLS'], server.capa()\n\
    \x20   server.stls(context)\n\
    \x20   print(server.sock.version())\n\
    \x20   assert 'UIDL' in server.capa(), server.capa()\n\
    \x20   server.quit()\n\
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):\n\
    \x20   context = ssl.create_default_context(cafile=trust)\n\
    \x20   context.verify_flags &= ~ssl.VERIFY_X509_STRICT\n\
    \x20   context.minimum_version = context.maximum_version = version\n\
    \x20   globals()[protocol](context)\n";

fn python(proxy: &Proxy, directory: &Directory, protocol: &str) -> Finished {
    let port = proxy.listen_addr("edge").port().to_string();
    let mut client: Command = command("python3");
    client.args(["-W", "ignore", "-c", CLIENT, protocol, &port]);
    client.arg(directory.join("trust.pem"));
    finish(client, b"")
}

/// Connects to `origin` by both clients in each mode. `script` is answered by `answer` inside TLS.
fn work(directory: &Directory, protocol: &str, origin: &Service, script: &str, answer: &str) {
    let terminate = edge(protocol).terminate("localhost", origin).start();
    let proxies = [("terminate", terminate)].into_iter();
    at_once(
        proxies.chain(with_tls(protocol, origin)),
        |(mode, proxy)| {
            let finished = python(&proxy, directory, protocol);
            finished.must_exit_with(0);
            assert_eq!(finished.stdout, "TLSv1.2\nTLSv1.3", "{protocol} {mode}");
            for version in ["-tls1_2", "-tls1_3"] {
                let finished = s_client(&proxy, directory, &[protocol], version, script);
                assert!(
                    finished.stdout.contains(answer),
                    "{protocol} {mode}: {}",
                    finished.text()
                );
                // The client has had one greeting, ours, before TLS.
                for greeting in ["ready", "ESMTP"] {
                    assert!(
                        !finished.stdout.contains(greeting),
                        "{protocol} {mode}: {}",
                        finished.text()
                    );
                }
            }
            for record in proxy.outcomes(4) {
                record
                    .must_have("sni", "localhost")
                    .must_have("stage", "relay");
            }
        },
    );
}

/// Clients that know no TLS reach the server over it. The greeting is Reseal's.
fn work_in_plain(protocol: &str, origin: &Service) {
    const CLIENT: &str = "import imaplib, poplib, smtplib, sys\n\
        protocol, port = sys.argv[1], int(sys.argv[2])\n\
        if protocol == 'smtp':\n\
        \x20   with smtplib.SMTP('localhost', port, 'client.test', timeout=30) as server:\n\
        \x20       server.sendmail('a@localhost', ['b@localhost'], 'Subject: it\\r\\n\\r\\nin plain\\r\\n')\n\
        \x20       print(server.has_extn('starttls'))\n\
        elif protocol == 'imap':\n\
        \x20   server = imaplib.IMAP4('localhost', port, timeout=30)\n\
        \x20   print('STARTTLS' in server.capability()[1][0].decode().split())\n\
        \x20   server.logout()\n\
        else:\n\
        \x20   server = poplib.POP3('localhost', port, timeout=30)\n\
        \x20   print('STLS' in server.capa())\n\
        \x20   server.quit()\n";
    let proxy = Proxy::builder()
        .originate(origin)
        .origin_tls(&sealed(protocol))
        .start();
    let port = proxy.listen_addr("originate").port().to_string();
    let mut client: Command = command("python3");
    client.args(["-W", "ignore", "-c", CLIENT, protocol, &port]);
    let finished = finish(client, b"");
    finished.must_exit_with(0);
    // What the server says inside of TLS.
    assert_eq!(finished.stdout, "False", "{protocol}");
    proxy
        .outcome()
        .must_have("mode", "originate")
        .must_have("stage", "relay");
}

/// Exim, which takes mail for everybody and keeps it in its queue.
fn exim(directory: &Directory) -> Service {
    let spool = directory.join("spool");
    std::fs::create_dir(&spool).unwrap();
    for name in ["origin.pem", "origin.key"] {
        std::fs::copy(directory.join(name), spool.join(name)).unwrap();
    }
    give_to("Debian-exim", &spool);
    let (user, group) = match is_root() {
        true => ("Debian-exim".to_owned(), "Debian-exim".to_owned()),
        false => (
            rustix::process::geteuid().as_raw().to_string(),
            rustix::process::getegid().as_raw().to_string(),
        ),
    };
    let spool = spool.display();
    Service::start(|port| {
        let config = format!(
            "primary_hostname = localhost\nexim_user = {user}\nexim_group = {group}\n\
             spool_directory = {spool}\nlog_file_path = {spool}/%slog\npid_file_path = {spool}/pid\n\
             local_interfaces = 127.0.0.1\ndaemon_smtp_ports = {port}\nqueue_only = true\n\
             tls_advertise_hosts = *\ntls_certificate = {spool}/origin.pem\n\
             tls_privatekey = {spool}/origin.key\nacl_smtp_rcpt = everybody\n\
             begin acl\neverybody:\n  accept\n"
        );
        let config = directory.write_with_mode("exim.conf", config, 0o644);
        let mut exim: Command = command("exim4");
        exim.args(["-bdf", "-C"]).arg(config);
        exim
    })
}

#[test]
fn mail_is_delivered_to_exim_in_every_mode() {
    let directory = with_certificate();
    let origin = exim(&directory);
    work(
        &directory,
        "smtp",
        &origin,
        "NOOP\r\nQUIT\r\n",
        "221 localhost closing connection",
    );
    work_in_plain("smtp", &origin);
    let queue = std::fs::read_dir(directory.join("spool/input")).unwrap();
    let names = queue.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.ends_with("-D")).count(), 7);
}

/// Dovecot with IMAP or POP3, with and without STARTTLS, on one port.
fn dovecot(directory: &Directory, protocol: &str) -> Service {
    let root = directory.path().display().to_string();
    Service::start(|port| {
        let listener = format!("{protocol}-login");
        let config = format!(
            "base_dir = {root}/run\nstate_dir = {root}/run\nlog_path = /dev/stderr\n\
             protocols = {protocol}\nlisten = 127.0.0.1\nssl = yes\nssl_cert = <{root}/origin.pem\n\
             ssl_key = <{root}/origin.key\ndisable_plaintext_auth = no\n\
             service {listener} {{\n inet_listener {protocol} {{\n port = {port}\n }}\n \
             inet_listener {protocol}s {{\n port = 0\n }}\n chroot =\n}}\n\
             service anvil {{\n chroot =\n}}\n\
             passdb {{\n driver = static\n args = password=secret\n}}\n\
             userdb {{\n driver = static\n args = uid=1000 gid=1000 home={root}/mail\n}}\n"
        );
        let config = directory.write("dovecot.conf", config);
        let mut dovecot: Command = command("dovecot");
        dovecot.args(["-F", "-c"]).arg(config);
        dovecot
    })
}

#[test]
fn imap_and_pop3_clients_reach_dovecot_in_every_mode() {
    let directory = with_certificate();
    for (protocol, script, answer) in [
        ("imap", "a CAPABILITY\r\nb LOGOUT\r\n", "b OK"),
        ("pop3", "CAPA\r\nQUIT\r\n", "+OK"),
    ] {
        let origin = dovecot(&directory, protocol);
        work(&directory, protocol, &origin, script, answer);
        work_in_plain(protocol, &origin);
    }
}
