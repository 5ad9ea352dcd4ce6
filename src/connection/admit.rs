//! Who may connect, and who may use a route: rules on the client's address.

use super::establish::Establish;
use crate::outcome::{CloseWith, Failure, Reason, Stage};
use crate::snapshot::{Protocol, Route, Sources};
use crate::tls::{self, classify};

impl Establish<'_> {
    /// Admits the client to the endpoint, before a byte of its TLS is read. It is reset otherwise.
    pub(super) fn admit(&mut self) -> Result<(), Failure> {
        let Some(sources) = &self.endpoint.sources else {
            return Ok(());
        };
        self.record.enter(Stage::Admit);
        self.check_source(sources)
            .map_err(|failure| failure.close_with(CloseWith::Abort))
    }

    /// Admits the client to its route. It gets an alert otherwise, or a reset where it does not speak TLS.
    pub(super) fn admit_to(&self, route: &Route) -> Result<(), Failure> {
        let Some(sources) = &route.sources else {
            return Ok(());
        };
        self.check_source(sources).map_err(|failure| {
            failure.close_with(match self.endpoint.protocol {
                Protocol::Tls => CloseWith::Alert(classify::alert_record(tls::ACCESS_DENIED)),
                Protocol::Tcp => CloseWith::Reset,
            })
        })
    }

    /// A unix peer has no address, so that no rule applies.
    fn check_source(&self, sources: &Sources) -> Result<(), Failure> {
        let Some(address) = self.source else {
            return Ok(());
        };
        let checked = sources.rules.check(address.ip());
        checked.map_err(|denial| Failure::new(Reason::DeniedSource).detail(denial.to_string()))
    }
}
