//! Access lists in the snapshot.

use pointsman_config::AccessList;
use pointsman_config::Config;
use pointsman_dataplane::acl::Access;
use pointsman_dataplane::acl::Acl;
use pointsman_dataplane::service::Service;
use pointsman_dataplane::tuple::Prefix;
use std::sync::Arc;

/// The lists that were built last, with what they were built from: what a reload leaves alone is not
/// built anew, and a list that several services have is built once.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists(Vec<(Arc<AccessList>, Arc<Acl>)>);

impl Lists {
    /// The lists of a configuration, whose services stand in `services` in its order; those of
    /// `before` where they are the same.
    pub(super) fn access(
        &mut self,
        config: &Config,
        services: &[Service],
        before: &Arc<Access>,
    ) -> Arc<Access> {
        let old = std::mem::take(&mut self.0);
        let mut built = |list: &Arc<AccessList>| {
            let known = self.0.iter().chain(&old).find(|(from, _)| from == list);
            let acl = known.map_or_else(|| Arc::new(build(list)), |(_, acl)| Arc::clone(acl));
            self.0.push((Arc::clone(list), Arc::clone(&acl)));
            acl
        };
        let everywhere = config.director.access.as_ref().map(&mut built);
        let own = config.services.iter().zip(services);
        let own =
            own.filter_map(|(from, service)| Some((service.id, built(from.access.as_ref()?))));
        let access = Access { services: own.collect(), everywhere };
        if access == **before { Arc::clone(before) } else { Arc::new(access) }
    }
}

fn build(list: &AccessList) -> Acl {
    let prefix = |p: &pointsman_config::Prefix| Prefix::new(p.address().into(), p.length());
    let allowed = list.allow.iter().map(|p| (prefix(p), true));
    Acl::new(allowed.chain(list.deny.iter().map(|p| (prefix(p), false))), list.others)
}
