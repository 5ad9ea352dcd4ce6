//! Allow rules: conditions on certificates.

use super::compiler::Compiler;
use crate::config::reader::generic::OneOrMany;
use crate::config::reader::read::Located;
use crate::config::reader::values::Text;
use crate::config::spec;
use crate::tls::verify::allow::{Rule, Rules};

impl Compiler<'_> {
    /// The allow rules; `None` after errors were reported.
    pub(super) fn rules(&mut self, specs: &[Located<spec::Rule>]) -> Option<Rules> {
        let rules: Vec<_> = specs.iter().map(|spec| self.rule(spec)).collect();
        rules.into_iter().collect::<Option<_>>().map(Rules)
    }

    fn rule(&mut self, spec: &Located<spec::Rule>) -> Option<Rule> {
        self.literal(spec.common_name.as_ref());
        self.literal(spec.organizational_unit.as_ref());
        let dns = self.values("dns", spec.dns.as_ref(), |name| name.0.clone());
        let uri = self.values("uri", spec.uri.as_ref(), |uri| uri.0.clone());
        let email = self.values("email", spec.email.as_ref(), |email| email.0.clone());
        let ip = self.values("ip", spec.ip.as_ref(), |net| net.0);
        let common_name = spec.common_name.as_ref();
        let common_name = self.values("common_name", common_name, |name| name.0.clone());
        let units = spec.organizational_unit.as_ref();
        let units = self.values("organizational_unit", units, |unit| unit.0.clone());
        let sha256 = self.values("sha256", spec.sha256.as_ref(), |digest| digest.0);
        let spki_sha256 = self.values("spki_sha256", spec.spki_sha256.as_ref(), |digest| digest.0);
        let rule = Rule {
            dns: dns?,
            uri: uri?,
            email: email?,
            ip: ip?,
            common_name: common_name?,
            organizational_unit: units?,
            sha256: sha256?,
            spki_sha256: spki_sha256?,
        };
        if rule.is_empty() {
            // A misspelt key is reported already; the help to drop the rule would mislead.
            if self.problems.is_incomplete(spec.at) {
                return None;
            }
            self.problems
                .error(spec.at, "a rule without a key matches everything")
                .help("leave `allow` out to admit every certificate of the CA");
            return None;
        }
        Some(rule)
    }

    /// The values of one key of a rule; empty if the key is absent.
    fn values<T, V>(
        &mut self,
        key: &str,
        list: Option<&Located<OneOrMany<T>>>,
        value: impl Fn(&T) -> V,
    ) -> Option<Vec<V>> {
        let Some(list) = list else {
            return Some(Vec::new());
        };
        if list.is_empty() {
            self.problems
                .error(list.at, format!("an empty `{key}` can never match"))
                .help("leave it out to accept any");
            return None;
        }
        Some(list.iter().map(|item| value(&item.value)).collect())
    }

    /// Warns about wildcards in parts of a subject, which are compared literally.
    fn literal(&mut self, texts: Option<&Located<OneOrMany<Text>>>) {
        for text in texts.iter().flat_map(|texts| texts.iter()) {
            if text.value.0.contains('*') {
                self.problems
                    .warning(text.at, "`*` is not a wildcard here")
                    .help("only `dns` and `uri` have wildcards");
            }
        }
    }
}
