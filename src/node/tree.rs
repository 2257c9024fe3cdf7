//! The supervision tree of a node: how each of its actors is started, and how the tree looks to operators.

use std::sync::Arc;

use axum::Router;
use futures::FutureExt;
use ractor::{Actor, ActorRef, Message};
use tokio_util::sync::CancellationToken;

use super::assembly::Assembly;
use super::root::{ChildSpec, SupervisionStatus};
use super::service::{Run, Service, ServiceArguments};
use crate::actors::Regions;
use crate::actors::handle::Handle;
use crate::actors::persistence::PersistenceActor;
use crate::actors::region::AnyRegion;
use crate::http::Shop;
use crate::http::edge::settings::HttpSettings;
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
    pub(super) fn children(&self) -> Vec<ChildSpec> {
        let mut children = Vec::new();
        let persistences = self.regions.all().map(AnyRegion::persistence);
        for persistence in persistences.into_iter().chain([&self.payments]) {
            let name = format!("persistence/{}", persistence.store.name());
            let arguments = persistence.clone();
            children.push(child(name, "persistence", persistence.actor.clone(), move || {
                (PersistenceActor, arguments.clone())
            }));
        }
        for region in self.regions.all() {
            children.push(ChildSpec {
                name: format!("{REGION}{}", region.kind().as_str()),
                kind: "region",
                start: region.starter(),
            });
        }
        let checkout = Arc::clone(&self.checkout);
        children.push(child("sagas", "checkout", self.sagas.clone(), move || {
            (Sagas, Arc::clone(&checkout))
        }));
        let sweeper = Arc::new(self.sweeper_context());
        children.push(child("sweeper", "worker", self.sweeper.clone(), move || {
            (Sweeper, Arc::clone(&sweeper))
        }));
        for delivery in self.deliveries() {
            let name = format!("relay/{}/{}", delivery.outbox.name(), delivery.consumer.name());
            let delivery = Arc::new(delivery);
            let run: Run = Arc::new(move |shutdown| {
                let delivery = Arc::clone(&delivery);
                async move {
                    shutdown.run_until_cancelled(delivery.run()).await;
                    Ok(())
                }
                .boxed()
            });
            children.push(self.service(&name, "worker", run, CancellationToken::new()));
        }
        children.push(self.peers_child());
        children.push(self.service("stores", "probe", self.store_probe(), CancellationToken::new()));
        children.push(self.service(
            "metrics",
            "worker",
            self.metrics_upkeep(),
            CancellationToken::new(),
        ));
        for (name, run) in [
            ("signing keys", self.accounts.follow_keys(&self.clock)),
            ("revocations", self.accounts.follow_revocations(&self.clock)),
        ] {
            children.push(self.service(name, "worker", run, CancellationToken::new()));
        }
        children.extend(self.certificate_children());
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

    fn sweeper_context(&self) -> SweeperContext {
        SweeperContext {
            regions: self.regions.clone(),
            orders: Arc::clone(&self.stores.orders),
            inventory: Arc::clone(&self.stores.inventory),
            checkouts: StartCheckout {
                sagas: self.sagas.clone(),
                clock: Arc::clone(&self.clock),
            },
            routing: Arc::clone(&self.routing),
            clock: Arc::clone(&self.clock),
            interval: self.config.limits.sweep_interval_ms.duration(),
            reservation: self.config.limits.reservation_seconds.duration(),
            idempotency: Arc::clone(&self.stores.idempotency),
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

    fn peers_child(&self) -> ChildSpec {
        let (membership, requests) = (self.membership.clone(), Arc::clone(&self.ownership.requests));
        let events: LinkEvents = Arc::new(move |event| {
            // Here and not in membership, which may be waiting for its store.
            if let LinkEvent::Down { peer, .. } = &event {
                requests.fail(&peer.name);
            }
            membership.cast(MembershipMessage::Link(event));
        });
        let (identity, tls, key) = (self.identity.clone(), self.tls.clone(), self.key.clone());
        let (settings, links, handle) = (
            TransportSettings::from(&self.config.transport),
            self.links.clone(),
            self.peers.clone(),
        );
        let listener = self.cluster_listener.try_clone().map(Arc::new);
        let start = move |supervisor: ractor::ActorCell| {
            let listener = match &listener {
                Ok(listener) => listener.try_clone().and_then(tokio::net::TcpListener::from_std),
                Err(error) => Err(std::io::Error::new(error.kind(), error.to_string())),
            };
            let (identity, tls, key) = (identity.clone(), tls.clone(), key.clone());
            let (settings, links, handle) = (settings.clone(), links.clone(), handle.clone());
            let events = Arc::clone(&events);
            async move {
                let arguments = PeersArguments {
                    identity,
                    listener: listener.map_err(|error| ractor::SpawnErr::StartupFailed(Box::new(error)))?,
                    tls,
                    key,
                    settings,
                    links,
                    events,
                };
                let (actor, _) = Peers::spawn_linked(None, Peers, arguments, supervisor).await?;
                handle.point_at(actor.clone());
                Ok(actor.get_cell())
            }
            .boxed()
        };
        ChildSpec {
            name: "peers".to_owned(),
            kind: "transport",
            start: Arc::new(start),
        }
    }

    fn membership_child(&self) -> ChildSpec {
        let me = self.me.clone();
        let views = Arc::clone(&self.stores.views);
        let routing = Arc::clone(&self.routing);
        let listener = Arc::clone(&self.ownership);
        let gossip = self.gossip.clone();
        let settings = MembershipSettings {
            look_interval: self.config.membership.look_interval_ms.duration(),
            lease: self.config.membership.verified_ms.duration(),
            minority_wait: self.config.membership.minority_wait_ms.duration(),
            unreachable: self.config.membership.unreachable_ms.duration(),
            drain: self.config.limits.drain_seconds.duration(),
        };
        child("membership", "membership", self.membership.clone(), move || {
            let arguments = MembershipArguments {
                me: me.clone(),
                views: Arc::clone(&views),
                routing: Arc::clone(&routing),
                listener: Arc::clone(&listener) as Arc<dyn OwnershipListener>,
                gossip: gossip.reports(),
                settings,
            };
            (Membership, arguments)
        })
    }

    fn store_probe(&self) -> Run {
        let (probe, stores) = (Arc::clone(&self.probe), self.stores.clone());
        Arc::new(move |shutdown| {
            let watch = Arc::clone(&probe).watch_stores(stores.clone(), shutdown);
            async move {
                watch.await;
                Ok(())
            }
            .boxed()
        })
    }

    fn metrics_upkeep(&self) -> Run {
        let metrics = self.metrics.clone();
        Arc::new(move |shutdown| {
            let metrics = metrics.clone();
            async move {
                // It never ends by itself; told to end, there is nothing to finish.
                shutdown
                    .run_until_cancelled(crate::operator::metrics::keep_up(metrics))
                    .await;
                Ok(())
            }
            .boxed()
        })
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

    fn operator_router(&self) -> Router {
        let (probe, supervision, me) = (
            Arc::clone(&self.probe),
            self.supervision.clone(),
            self.me.name.clone(),
        );
        let (drain, regions) = (Arc::clone(&self.drain), self.regions.clone());
        crate::operator::router(OperatorState {
            me: self.me.clone(),
            started_at: Timestamp::from_millis(i64::try_from(self.me.incarnation).unwrap_or(0)),
            clock: Arc::clone(&self.clock),
            token: self.config.operator.token.clone(),
            config: self.config.redacted(),
            regions: self.regions.clone(),
            routing: Arc::clone(&self.routing),
            persistence: self
                .regions
                .all()
                .map(AnyRegion::persistence)
                .into_iter()
                .chain([&self.payments])
                .cloned()
                .collect(),
            stores: self.stores.clone(),
            traces: Arc::clone(&self.checkout.traces),
            membership: self.membership.clone(),
            supervision: Arc::new(move || tree(&me, &supervision, &regions)),
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
        child(name, kind, Handle::default(), move || {
            (Service, arguments.clone())
        })
    }
}

/// The children of the root as the operator's interface shows them.
fn tree(node: &str, supervision: &SupervisionStatus, regions: &Regions) -> SupervisionTree {
    let children = supervision
        .read()
        .into_iter()
        .map(|child| SupervisionTree {
            children: child
                .name
                .strip_prefix(REGION)
                .and_then(|kind| regions.of_kind(kind))
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
        ..SupervisionTree::running(node, "node")
    }
}

/// A child whose present incarnation `handle` points at.
fn child<Handler, Arguments, M>(
    name: impl Into<String>,
    kind: &'static str,
    handle: Handle<M>,
    make: impl Fn() -> (Handler, Arguments) + Send + Sync + 'static,
) -> ChildSpec
where
    M: Message,
    Arguments: ractor::State,
    Handler: Actor<Msg = M, Arguments = Arguments>,
{
    let start = move |supervisor: ractor::ActorCell| {
        let (handler, arguments) = make();
        let handle = handle.clone();
        async move {
            let (actor, _): (ActorRef<M>, _) =
                Handler::spawn_linked(None, handler, arguments, supervisor).await?;
            handle.point_at(actor.clone());
            Ok(actor.get_cell())
        }
        .boxed()
    };
    ChildSpec {
        name: name.into(),
        kind,
        start: Arc::new(start),
    }
}
