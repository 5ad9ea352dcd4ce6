//! The user that the process becomes and the rights that it gives up: whether this machine has them.

use super::compiler::{Compiler, Files, Purpose};
use crate::config::reader::address::OriginAddress;
use crate::sandbox::{self, Account, Mode, RunAs};

const EXIT: &str =
    "`reseal run` as this user, on this machine as it is, would end with exit code 2";

impl Compiler<'_> {
    /// Reports what the start would be refused for, and what the sandbox cannot know.
    pub(super) fn privileges(&mut self) {
        let process = &self.spec.process;
        self.services();
        if self.files == Files::Skip {
            return;
        }
        for path in process
            .sandbox
            .also
            .read
            .iter()
            .chain(process.sandbox.also.write.iter())
        {
            let place = self.resolve(path);
            if !place.exists() {
                let message = format!("{} does not exist, so nothing is kept", place.display());
                let problem = self.problems.warning(path.at, message);
                problem.help("the kernel keeps rights to what exists when Reseal starts");
            }
        }
        // A reload keeps what the start had.
        if self.running.is_some() {
            return;
        }
        let account = process.user.get().map(RunAs::find).transpose();
        let out_of_reach = match &account {
            Ok(account) => account.as_ref().and_then(Account::is_out_of_reach),
            Err(why) => {
                let problem = self.problems.error(process.user.at, why.clone());
                problem.help(
                    "write a user of this machine: `USER` or `USER:GROUP`, by names or numbers",
                );
                None
            }
        };
        // The start reports the rest itself.
        if self.purpose == Purpose::Serve {
            return;
        }
        if let Some(why) = out_of_reach {
            self.problems.notice(process.user.at, why).help(EXIT);
        }
        if process.sandbox.mode.value == Mode::Required {
            for why in sandbox::missing_layers() {
                self.problems
                    .notice(process.sandbox.mode.at, why)
                    .help(EXIT);
            }
        }
    }

    /// A service has its ports from DNS, and a required sandbox knows those of the file alone.
    fn services(&mut self) {
        let sandbox = &self.spec.process.sandbox;
        if sandbox.mode.value != Mode::Required || !sandbox.also.connect.is_empty() {
            return;
        }
        for (_, upstream) in &self.spec.upstreams.0 {
            for origin in upstream.origins.iter() {
                if let OriginAddress::Srv(_) = &origin.address.value {
                    let message = "the ports of a service come from DNS, and `process.sandbox: required` allows \
                                   connecting to ports of the file alone";
                    let problem = self.problems.error(origin.address.at, message);
                    problem.help(
                        "name them: `sandbox: { mode: required, also: { connect: [PORT] } }`",
                    );
                }
            }
        }
    }
}
