//! `reseal certs`: a development CA and certificates that it signs.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use super::exit::Exit;
use super::output::{eprint_line, print};
use crate::hostname::HostPattern;
use crate::tls::info::hex;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory to write to; made when it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Host names or addresses to make server certificates for, such as `vault.example.com` or
    /// `*.example.com`
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// How long development certificates last: long enough for a project, too short to be forgotten.
const DAYS: i64 = 365;

/// Names of the files that are made in any case.
const OWN: [&str; 2] = ["ca", "client"];

pub(super) fn main(args: &Args) -> Exit {
    match write_all(&args.out, &args.names) {
        Ok(report) => print(&report),
        Err(error) => {
            eprint_line(&format!("reseal: {error}"));
            Exit::Bad
        }
    }
}

fn write_all(dir: &Path, names: &[String]) -> io::Result<String> {
    // A user with write access could replace the CA that is about to be trusted.
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o755).create(dir);
    made.map_err(|e| about(dir, &e))?;
    // All names are known to be good before the first file is written.
    let names = names
        .iter()
        .map(|name| in_certificates(name))
        .collect::<io::Result<Vec<_>>>()?;
    for (n, name) in names.iter().enumerate() {
        if OWN.contains(&name.as_str()) {
            return refuse(name, "is reserved: this command writes files of that name");
        }
        if names
            .iter()
            .take(n)
            .any(|other| file_name(other) == file_name(name))
        {
            return refuse(name, "is given twice");
        }
        for extension in ["pem", "key"] {
            free(&dir.join(format!("{}.{extension}", file_name(name))))?;
        }
    }
    let has_client = dir.join("client.pem").exists();
    if !has_client {
        free(&dir.join("client.key"))?;
    }
    let authority = Authority::open_or_create(dir)?;
    for name in &names {
        authority.server(dir, name)?;
    }
    if !has_client {
        authority.client(dir, "client")?;
    }
    let files: Vec<_> = names
        .iter()
        .map(|name| {
            format!(
                "  {0}.pem, {0}.key   server certificate for {name}",
                file_name(name)
            )
        })
        .collect();
    Ok(format!(
        "In {}, valid for {DAYS} days, for development only:\n  ca.pem, ca.key   the CA that clients and \
         origins should trust\n  client.pem, client.key   a client certificate\n{}\n",
        dir.display(),
        files.join("\n")
    ))
}

/// A name as certificates hold it: an address, or a host name in ASCII (RFC 5890), lower case.
fn in_certificates(name: &str) -> io::Result<String> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match HostPattern::parse(name) {
        Ok(pattern) => Ok(pattern.to_string()),
        Err(_) => refuse(name, "is neither a host name nor an address"),
    }
}

/// A development CA.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Opens the CA of a directory, or creates it.
    pub(super) fn open_or_create(dir: &Path) -> io::Result<Self> {
        let (cert, key) = (dir.join("ca.pem"), dir.join("ca.key"));
        if cert.exists() != key.exists() {
            let (there, absent) = if cert.exists() {
                (&cert, "ca.key")
            } else {
                (&key, "ca.pem")
            };
            return Err(about(
                there,
                &format!("exists without {absent}; remove it to make a new CA"),
            ));
        }
        if cert.exists() && key.exists() {
            let key = KeyPair::from_pem(&read_own(&key)?).map_err(io::Error::other)?;
            let issuer = Issuer::from_ca_cert_pem(&fs::read_to_string(cert)?, key)
                .map_err(io::Error::other)?;
            return Ok(Self { issuer });
        }
        // With equal names, a certificate of another development CA would fail as "bad signature", not
        // as "unknown issuer".
        let mut number = [0; 4];
        aws_lc_rs::rand::fill(&mut number).map_err(io::Error::other)?;
        let mut params = params(&format!("Reseal development CA {}", hex(&number)), &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let pair = KeyPair::generate().map_err(io::Error::other)?;
        let ca = params.self_signed(&pair).map_err(io::Error::other)?;
        write(&key, &pair.serialize_pem(), 0o600)?;
        write(&cert, &ca.pem(), 0o644)?;
        Ok(Self {
            issuer: Issuer::new(params, pair),
        })
    }

    /// A server certificate for `name`.
    pub(super) fn server(&self, dir: &Path, name: &str) -> io::Result<()> {
        let mut params = params(name, &[name])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.leaf(dir, &file_name(name), params)
    }

    /// A client certificate with this common name.
    pub(super) fn client(&self, dir: &Path, name: &str) -> io::Result<()> {
        let mut params = params(name, &[name])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(dir, name, params)
    }

    fn leaf(&self, dir: &Path, file: &str, mut params: CertificateParams) -> io::Result<()> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let pair = KeyPair::generate().map_err(io::Error::other)?;
        let leaf = params
            .signed_by(&pair, &self.issuer)
            .map_err(io::Error::other)?;
        write(
            &dir.join(format!("{file}.key")),
            &pair.serialize_pem(),
            0o600,
        )?;
        write(&dir.join(format!("{file}.pem")), &leaf.pem(), 0o644)
    }
}

fn params(common_name: &str, names: &[&str]) -> io::Result<CertificateParams> {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).map_err(|_| {
        let why = format!("`{common_name}`: a certificate cannot hold this name");
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })?;
    let now = OffsetDateTime::now_utc();
    // A fresh certificate must be valid for peers whose clock is a little behind.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(DAYS);
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

/// The file name of a host name: `*` is replaced.
fn file_name(name: &str) -> String {
    name.replace('*', "_wildcard").replace(['/', ':'], "_")
}

/// Reads a file that this command wrote. A CA file of another user is refused.
fn read_own(path: &Path) -> io::Result<String> {
    let mut file = File::open(path).map_err(|e| about(path, &e))?;
    let owner = file.metadata()?.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(about(
            path,
            &"belongs to another user; choose another directory",
        ));
    }
    let mut text = String::new();
    file.read_to_string(&mut text)
        .map_err(|e| about(path, &e))?;
    Ok(text)
}

/// Writes a new file. An existing one may be in use and is not overwritten.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => {
                about(path, &"exists already; remove it to make a new one")
            }
            _ => about(path, &e),
        })
}

fn refuse<T>(name: &str, why: &str) -> io::Result<T> {
    Err(io::Error::other(format!("`{name}` {why}")))
}

/// Refuses a path that exists.
fn free(path: &Path) -> io::Result<()> {
    if path.exists() {
        Err(taken(path))
    } else {
        Ok(())
    }
}

fn taken(path: &Path) -> io::Error {
    about(path, &"exists already; remove it to make a new one")
}

fn about(path: &Path, error: &impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
