//! The supervision tree of a node: how each of its actors is started, and how the tree looks to operators.

use std::sync::Arc;

use axum::Router;
use tokio_util::sync::CancellationToken;

use super::assembly::Assembly;
use super::root::ChildSpec;
use super::service::{Run, Service, ServiceArguments, endless, until_cancelled};
use crate::actors::handle::Handle;
use crate::actors::persistence::{Persistence, PersistenceActor};
use crate::actors::region::AnyRegion;
use crate::http::Shop;
use crate::http::edge::settings::HttpSettings;
use crate::operator::metrics::keep_up;
use crate::operator::{OperatorState, SupervisionState, SupervisionTree};
use crate::projections::badges::BadgeProjector;
use crate::projections::purchases::PurchaseProjector;
use crate::projections::relay::{Consumer, DeliveryTask};
use crate::sagas::checkout::{Sagas, StartCheckout};
use crate::sagas::sweeper::{Sweeper, SweeperContext};
use souk_cluster::membership::{
    Membership, MembershipArguments, MembershipMessage, MembershipSettings, OwnershipListener,
};
use souk_cluster::peers::{LinkEvent, LinkEvents, Peers, PeersArguments};
use souk_cluster::transport::TransportSettings;
use souk_cluster::view::Role;
use souk_domain::Timestamp;

/// In the supervision tree a region is called by this prefix and its kind.
const REGION: &str = "region/";

impl Assembly {
    /// The children of the root in the order of their start: what others need comes first, and whoever brings the
    /// node into the view comes last.
    pub(super) fn children(self: &Arc<Self>) -> Vec<ChildSpec> {
        let mut children = Vec::new();
        for persistence in self.persistences() {
            let name = format!("persistence/{}", persistence.store.name());
            let arguments = persistence.clone();
            let make = move || Ok((PersistenceActor, arguments.clone()));
            let start = persistence.actor.starter(make);
            children.push(ChildSpec::new(name, "persistence", start));
        }
        for region in self.regions.all() {
            let name = format!("{REGION}{}", region.kind().as_str());
            children.push(ChildSpec::new(name, "region", region.starter()));
        }
        let checkout = Arc::clone(&self.checkout);
        let make = move || Ok((Sagas, Arc::clone(&checkout)));
        let start = self.ownership.sagas.starter(make);
        children.push(ChildSpec::new("sagas", "checkout", start));
        let sweeper = Arc::new(self.sweeper_context());
        let make = move || Ok((Sweeper, Arc::clone(&sweeper)));
        let start = self.ownership.sweeper.starter(make);
        children.push(ChildSpec::new("sweeper", "worker", start));
        for delivery in self.deliveries() {
            let name = format!("relay/{}/{}", delivery.outbox.name(), delivery.consumer.name());
            let delivery = Arc::new(delivery);
            let run = endless(move || Arc::clone(&delivery).run());
            children.push(self.service(&name, "worker", run, CancellationToken::new()));
        }
        children.push(self.peers_child());
        let (probe, stores) = (Arc::clone(&self.probe), self.stores.clone());
        let pings = move |shutdown| Arc::clone(&probe).watch_stores(stores.clone(), shutdown);
        let metrics = self.metrics.clone();
        let mut services = vec![
            ("stores", "probe", until_cancelled(pings)),
            ("metrics", "worker", endless(move || keep_up(metrics.clone()))),
            ("signing keys", "worker", self.accounts.follow_keys(&self.clock)),
            (
                "revocations",
                "worker",
                self.accounts.follow_revocations(&self.clock),
            ),
        ];
        for (name, tls) in [
            ("certificate/operator", &self.operator_tls),
            ("certificate/front", &self.shop_tls),
        ] {
            services.extend(tls.as_ref().map(|tls| (name, "worker", tls.reload())));
        }
        for (name, kind, run) in services {
            children.push(self.service(name, kind, run, CancellationToken::new()));
        }
        let operator = self.operator_router();
        children.push(self.listener(
            "operator",
            &self.operator_listener,
            self.operator_tls.as_ref(),
            operator,
            CancellationToken::new(),
        ));
        let front = self.front_router();
        children.push(self.listener(
            "front",
            &self.shop_listener,
            self.shop_tls.as_ref(),
            front,
            self.front_ended.clone(),
        ));
        children.push(self.membership_child());
        children
    }

    /// The way to each store whose writes are batched.
    fn persistences(&self) -> impl Iterator<Item = &Persistence> {
        let regions = self.regions.all().map(AnyRegion::persistence);
        regions.into_iter().chain([&self.checkout.payments])
    }

    fn sweeper_context(&self) -> SweeperContext {
        SweeperContext {
            regions: self.regions.clone(),
            checkouts: StartCheckout {
                sagas: self.ownership.sagas.clone(),
                clock: Arc::clone(&self.clock),
            },
            routing: Arc::clone(&self.routing),
            clock: Arc::clone(&self.clock),
            interval: self.config.limits.sweep_interval_ms.duration(),
            reservation: self.config.limits.reservation_seconds.duration(),
            keep_replies: self.config.limits.idempotency_keep_seconds.duration(),
            stores: self.stores.clone(),
            keep_revocations: self.accounts.keep_revocations,
        }
    }

    /// A delivery task for each store with events and each of its consumers.
    fn deliveries(&self) -> Vec<DeliveryTask> {
        let badges: Arc<dyn Consumer> = Arc::new(BadgeProjector {
            inventory: Arc::clone(&self.stores.inventory),
            products: Arc::clone(&self.stores.products),
        });
        let purchases: Arc<dyn Consumer> = Arc::new(PurchaseProjector {
            orders: Arc::clone(&self.stores.orders),
            users: Arc::clone(&self.stores.users),
            guests: self.accounts.service.guests.clone(),
            clock: Arc::clone(&self.clock),
        });
        [
            (&self.stores.stock_events, self.regions.skus.persistence(), badges),
            (
                &self.stores.order_events,
                self.regions.orders.persistence(),
                purchases,
            ),
        ]
        .into_iter()
        .map(|(outbox, persistence, consumer)| DeliveryTask {
            outbox: Arc::clone(outbox),
            consumer,
            routing: Arc::clone(&self.routing),
            written: persistence.events.clone(),
            clock: Arc::clone(&self.clock),
            attempts: u32::try_from(self.config.limits.delivery_attempts).unwrap_or(u32::MAX),
        })
        .collect()
    }

    fn peers_child(self: &Arc<Self>) -> ChildSpec {
        let (membership, requests) = (self.membership.clone(), Arc::clone(&self.ownership.requests));
        let events: LinkEvents = Arc::new(move |event| {
            // Here and not in membership, which may be waiting for its store.
            if let LinkEvent::Down { peer, .. } = &event {
                requests.fail(&peer.name);
            }
            membership.cast(MembershipMessage::Link(event));
        });
        let node = Arc::clone(self);
        let start = self.ownership.peers.starter(move || {
            let listener = node.cluster_listener.try_clone()?;
            let arguments = PeersArguments {
                identity: node.me.identity(),
                listener: tokio::net::TcpListener::from_std(listener)?,
                tls: node.tls.clone(),
                key: node.key.clone(),
                settings: TransportSettings::from(&node.config.transport),
                links: node.ownership.links.clone(),
                events: Arc::clone(&events),
            };
            Ok((Peers, arguments))
        });
        ChildSpec::new("peers", "transport", start)
    }

    fn membership_child(self: &Arc<Self>) -> ChildSpec {
        let node = Arc::clone(self);
        let start = self.membership.starter(move || {
            let config = &node.config.membership;
            let arguments = MembershipArguments {
                me: node.me.clone(),
                views: Arc::clone(&node.stores.views),
                routing: Arc::clone(&node.routing),
                listener: Arc::clone(&node.ownership) as Arc<dyn OwnershipListener>,
                gossip: node.ownership.gossip.reports(),
                settings: MembershipSettings {
                    look_interval: config.look_interval_ms.duration(),
                    lease: config.verified_ms.duration(),
                    minority_wait: config.minority_wait_ms.duration(),
                    unreachable: config.unreachable_ms.duration(),
                    drain: node.config.limits.drain_seconds.duration(),
                },
            };
            Ok((Membership, arguments))
        });
        ChildSpec::new("membership", "membership", start)
    }

    /// The shop where the node has the role `front`; elsewhere its address tells how the node is, and nothing more.
    fn front_router(&self) -> Router {
        let shop = self.shop();
        if self.me.roles.contains(&Role::Front) {
            return crate::http::router(shop);
        }
        crate::http::edge::conventions::wrap(
            crate::http::api::health::router(shop.health, shop.admission),
            shop.settings,
        )
    }

    fn http_settings(&self) -> HttpSettings {
        HttpSettings::new(&self.config.limits, &self.config.gateway)
    }

    fn shop(&self) -> Shop {
        let probe = Arc::clone(&self.probe);
        Shop {
            regions: self.regions.clone(),
            products: Arc::clone(&self.stores.products),
            search: Arc::clone(&self.stores.search),
            orders: Arc::clone(&self.stores.orders),
            inventory: Arc::clone(&self.stores.inventory),
            stock_events: Arc::clone(&self.stores.stock_events),
            accounts: Arc::clone(&self.accounts.service),
            idempotency: Arc::clone(&self.stores.idempotency),
            settings: self.http_settings(),
            secret: self.key.derive("souk shop tokens 1"),
            clock: Arc::clone(&self.clock),
            health: Arc::new(move || probe.report()),
            admission: Arc::clone(&self.admission),
            background: self.background.clone(),
        }
    }

    fn operator_router(self: &Arc<Self>) -> Router {
        let (node, probe, drain) = (Arc::clone(self), Arc::clone(&self.probe), self.drain.clone());
        crate::operator::router(OperatorState {
            me: self.me.clone(),
            started_at: Timestamp::from_millis(i64::try_from(self.me.incarnation).unwrap_or(0)),
            clock: Arc::clone(&self.clock),
            token: self.config.operator.token.clone(),
            config: self.config.redacted(),
            regions: self.regions.clone(),
            routing: Arc::clone(&self.routing),
            persistence: self.persistences().cloned().collect(),
            stores: self.stores.clone(),
            traces: Arc::clone(&self.checkout.traces),
            membership: self.membership.clone(),
            supervision: Arc::new(move || node.tree()),
            health: Arc::new(move || probe.report()),
            admission: Arc::clone(&self.admission),
            metrics: self.metrics.clone(),
            drain: Arc::new(move || drain.cancel()),
            client: self.client.clone(),
            settings: self.http_settings(),
        })
    }

    pub(super) fn service(
        &self,
        name: &str,
        kind: &'static str,
        run: Run,
        ended: CancellationToken,
    ) -> ChildSpec {
        let arguments = ServiceArguments {
            run,
            shutdown: self.shutdown.clone(),
            ended,
        };
        let start = Handle::default().starter(move || Ok((Service, arguments.clone())));
        ChildSpec::new(name, kind, start)
    }

    /// The children of the root as the operator's interface shows them.
    fn tree(&self) -> SupervisionTree {
        let children = self
            .supervision
            .read()
            .into_iter()
            .map(|child| SupervisionTree {
                children: child
                    .name
                    .strip_prefix(REGION)
                    .and_then(|kind| self.regions.of_kind(kind))
                    .map(SupervisionTree::of_entities)
                    .into_iter()
                    .collect(),
                name: child.name,
                kind: child.kind.to_owned(),
                status: if child.running {
                    SupervisionState::Running
                } else {
                    SupervisionState::Restarting
                },
                restarts: child.restarts,
                last_error: child.last_error,
            })
            .collect();
        SupervisionTree {
            children,
            ..SupervisionTree::running(&self.me.name, "node")
        }
    }
}
