//! Routes whose names, and the upstream of each, are in a file.

use std::sync::Arc;

use super::compiler::{Compiler, Files};
use super::context::EndpointContext;
use super::names_by_file::RoutesFile;
use super::serving::{self, RouteKind};
use crate::config::reader::read::Located;
use crate::config::spec;
use crate::route::RouteTable;
use crate::snapshot::Route;
use crate::tls::certificates::CertificateChoice;

impl Compiler<'_> {
    /// Adds the routes of a file, one for each upstream in it; `None` after errors were reported.
    pub(super) fn route_by_file(
        &mut self,
        context: &EndpointContext<'_>,
        spec: &Located<spec::Route>,
        file: &Located<spec::RoutesFile>,
        table: &mut RouteTable<Arc<Route>>,
    ) -> Option<()> {
        let beside = [
            spec.upstream.as_ref().map(|name| (name.at, "upstream")),
            spec.matches.sni.as_ref().map(|sni| (sni.at, "match.sni")),
        ];
        let mut fits = self.fits_protocol(context, spec);
        for (at, key) in beside.into_iter().flatten() {
            self.problems
                .error(
                    at,
                    format!("`{key}` beside `routes_file`, which has one for each line"),
                )
                .help("leave it out; another route may have it");
            fits = false;
        }
        if fits && context.endpoint.is_plain(spec) {
            self.problems
                .error(
                    file.at,
                    "`routes_file` on a route whose clients send no name",
                )
                .help("write `upstream: NAME`");
            fits = false;
        }
        let when = self.route_match(&spec.matches);
        self.without_effect(context, spec);
        let by_name = CertificateChoice::ByName(Arc::clone(&context.certificates.by_name));
        let mode = self.mode(context, spec, by_name);
        let sources = self.source_rules(context.endpoint, spec.sources.as_ref());
        let content = self.routes_files.of(spec).map(Arc::clone)?;
        self.beside_file(context, spec, file, &content);
        let (when, mode, sources) = (when?, mode?, sources?);
        if !fits {
            return None;
        }
        let upstreams = content.upstreams.iter();
        let routes = upstreams.map(|name| {
            let upstream = context.upstreams.get(&**name)?.clone()?;
            let (mode, sources) = (mode.clone(), sources.clone());
            let kind = RouteKind::ByName;
            let route = serving::route(context, spec, upstream, mode, sources, kind);
            Some((when.clone(), Arc::new(route)))
        });
        table.add_file(Arc::clone(&content.names), routes.collect::<Option<_>>()?);
        Some(())
    }

    /// Warns about names of a file that another route has, too, and about those that no certificate covers.
    fn beside_file(
        &mut self,
        context: &EndpointContext<'_>,
        spec: &Located<spec::Route>,
        file: &Located<spec::RoutesFile>,
        content: &RoutesFile,
    ) {
        let shown = file.file.display();
        for other in context.endpoint.routes.iter() {
            for name in other.matches.sni.iter().flat_map(|sni| sni.iter()) {
                if content.names.get(&name.value).is_some() {
                    let message = format!("{shown} has this name, too: this route owns it");
                    let problem = self.problems.warning(name.at, message);
                    problem.help("leave one of them out");
                }
            }
        }
        let is_checked = spec.mode.value.terminates_tls() && context.certificates.complete;
        if !is_checked || self.files == Files::Skip {
            return;
        }
        let by_name = &context.certificates.by_name;
        let bare = content.names.patterns().filter(|name| !by_name.cover(name));
        let (count, first) = bare.fold((0_usize, None), |(count, first), name| {
            let first = first.filter(|first| *first < name).or(Some(name));
            (count + 1, first)
        });
        if let Some(first) = first {
            let message = format!(
                "{shown}: no certificate of this endpoint covers {count} of its {} names, such as `{first}`",
                content.names.pattern_count()
            );
            self.problems.warning(file.at, message);
        }
    }
}
