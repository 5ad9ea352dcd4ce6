//! Lints for a certificate in use: its dates, those of its chain, and its key usage. Runs for each use,
//! since one pair may have several.

use super::compiler::Compiler;
use crate::config::reader::problem::Span;
use crate::observe::format::unix_timestamp;
use crate::tls::pair::Pair;
use crate::tls::unix_now;
use crate::tls::usage::Presented;
use crate::tls::validity::DateFault;

impl Compiler<'_> {
    /// Reports the lints at this span.
    pub(super) fn presented(&mut self, at: Span, pair: &Pair, to: Presented) {
        let path = &pair.source;
        for (n, validity) in pair.chain.iter().enumerate() {
            let Some(fault) = validity.fault(unix_now()) else {
                continue;
            };
            let (verb, moment) = match fault {
                DateFault::Expired => ("expired on", validity.not_after),
                DateFault::Early => ("is not valid before", validity.not_before),
                DateFault::EndsSoon => ("expires soon, on", validity.not_after),
            };
            let date = unix_timestamp(moment);
            if n == 0 {
                let help = match fault {
                    DateFault::Early => "check that it is the right file, and this machine's clock",
                    _ => "renew it: a running Reseal reads the new files by itself",
                };
                self.problems
                    .warning(at, format!("{path}: the certificate {verb} {date}"))
                    .help(help);
            } else {
                let (n, subject) = (n + 1, &validity.subject);
                self.problems
                    .warning(
                        at,
                        format!("{path}: certificate {n} of the chain {verb} {date} ({subject})"),
                    )
                    .help("fetch the current chain from the CA; a certificate that clients do not need can \
                        be removed");
            }
        }
        for (fault, help) in pair.usage.faults(to) {
            self.problems
                .warning(at, format!("{path}: {fault}"))
                .help(help);
        }
    }
}
