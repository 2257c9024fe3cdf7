//! Puts a node together: opens its stores, binds its addresses and makes its parts. What runs is in the tree.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::NodeError;
use super::accounts::AccountParts;
use super::health::Probe;
use super::inbox::Inbox;
use super::listeners::{ListenerTls, bind};
use super::ownership::OwnershipEffects;
use super::root::SupervisionStatus;
use crate::actors::handle::Handle;
use crate::actors::persistence::Persistence;
use crate::actors::region::RegionLimits;
use crate::actors::remote::{NodeTransport, PendingRequests};
use crate::actors::{RegionParts, Regions};
use crate::clock::{self, Clock};
use crate::config::{Config, Node};
use crate::gateways::Gateways;
use crate::gateways::sandbox::SandboxGateway;
use crate::http::edge::admission::Admission;
use crate::http::edge::overload::Overload;
use crate::operator::peers::OperatorClient;
use crate::sagas::checkout::{CheckoutContext, CheckoutLimits, StartCheckout};
use crate::stores::Stores;
use souk_cluster::certificates::{self, NodeTls};
use souk_cluster::frames::Item;
use souk_cluster::gossip::{Gossip, GossipSettings};
use souk_cluster::key::ClusterKey;
use souk_cluster::lanes::Links;
use souk_cluster::membership::MembershipMessage;
use souk_cluster::ownership::Routing;
use souk_cluster::view::{Member, MemberState, NodeIdentity};
use souk_cluster::views::Views;
use souk_domain::Timestamp;

/// A node's parts, before and while its actors run.
pub(super) struct Assembly {
    pub(super) config: Arc<Config>,
    pub(super) me: Member,
    pub(super) stores: Stores,
    pub(super) key: ClusterKey,
    pub(super) tls: NodeTls,
    pub(super) routing: Arc<Routing>,
    pub(super) regions: Regions,
    pub(super) accounts: AccountParts,
    pub(super) checkout: Arc<CheckoutContext>,
    pub(super) membership: Handle<MembershipMessage>,
    pub(super) ownership: Arc<OwnershipEffects>,
    pub(super) clock: Clock,
    pub(super) probe: Arc<Probe>,
    pub(super) admission: Arc<Admission>,
    pub(super) background: TaskTracker,
    pub(super) supervision: SupervisionStatus,
    pub(super) drain: CancellationToken,
    pub(super) shutdown: CancellationToken,
    pub(super) front_ended: CancellationToken,
    pub(super) cluster_listener: Arc<TcpListener>,
    pub(super) shop_listener: Arc<TcpListener>,
    pub(super) operator_listener: Arc<TcpListener>,
    pub(super) metrics: metrics_exporter_prometheus::PrometheusHandle,
    pub(super) shop_tls: Option<ListenerTls>,
    pub(super) operator_tls: Option<ListenerTls>,
    pub(super) client: OperatorClient,
}

fn member(node: &Node, incarnation: u64) -> Member {
    Member {
        name: node.name.clone(),
        incarnation,
        state: MemberState::Ready,
        roles: node.roles.clone(),
        cluster_address: node.cluster,
        gossip_address: node.gossip,
        shop_address: node.shop,
        operator_address: node.operator,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// Milliseconds since the epoch, and more than that of any earlier process of this name, whatever the clock did in between:
/// the latest process of a name is the one that stays.
async fn incarnation(views: &dyn Views, name: &str, now: Timestamp) -> u64 {
    let by_clock = u64::try_from(now.as_millis()).unwrap_or(0);
    // Where the store does not answer, the clock has to do; membership needs the store anyway.
    let view = views.current().await.ok().flatten().unwrap_or_default();
    let last = view.member(name).map_or(0, |member| member.incarnation);
    by_clock.max(last + 1)
}

impl Assembly {
    /// Opens the stores, binds the addresses and makes the parts; no actor runs yet.
    pub(super) async fn build(config: Arc<Config>, name: &str) -> Result<Self, NodeError> {
        let node = config
            .node(name)
            .ok_or_else(|| NodeError::Unknown(name.to_owned()))?
            .clone();
        let metrics = crate::operator::metrics::install()?;
        let client = OperatorClient::between_nodes(config.operator_tls_authority().as_deref())?;
        let shop_tls = ListenerTls::load(config.tls.shop.as_ref(), &config.limits, "shoppers")?;
        let operator_tls = ListenerTls::load(config.tls.operator.as_ref(), &config.limits, "operators")?;
        let cluster_listener = bind(node.cluster, "other nodes")?;
        let shop_listener = bind(node.shop, "shoppers")?;
        let operator_listener = bind(node.operator, "operators")?;
        let tls = certificates::load_directory(&config.cluster.certificates, &node.name)?;
        let key = config.cluster.shared_key();
        let stores = crate::stores::open(&config).await?;

        let clock = clock::system();
        let accounts = AccountParts::open(&config, &stores, &key, &clock).await?;
        let me = member(&node, incarnation(&*stores.views, &node.name, clock()).await);
        let gossip = start_gossip(&config, &me, &key).await?;

        // The regions need the links, which need the inbox, which needs the regions. Items that arrive before it is there are
        // dropped like any item that is lost.
        let inbox: Arc<OnceLock<Inbox>> = Arc::default();
        let receiver = Arc::clone(&inbox);
        let links = Links::new(Arc::new(move |from: &NodeIdentity, items: Vec<Item>| {
            if let Some(inbox) = receiver.get() {
                inbox.deliver(from, items);
            }
        }));
        let transport: Arc<dyn NodeTransport> = Arc::new(links.clone());
        let requests = Arc::new(PendingRequests::default());
        let routing = Routing::new(&node.name);
        let sagas = Handle::default();
        let parts = RegionParts {
            routing: Arc::clone(&routing),
            clock: Arc::clone(&clock),
            limits: RegionLimits::from(&config.limits),
            batch_rows: config.limits.batch_rows,
            requests: Arc::clone(&requests),
            transport: Arc::clone(&transport),
        };
        let start_checkout = StartCheckout {
            sagas: sagas.clone(),
            clock: Arc::clone(&clock),
        };
        let regions = Regions::new(&parts, |name| stores.rows(name), Arc::new(start_checkout))?;
        let gateway = SandboxGateway::new(Arc::clone(&stores.sandbox), || clock::system()());
        let checkout = Arc::new(CheckoutContext {
            regions: regions.clone(),
            payments: Persistence::new(Arc::clone(&stores.payments), config.limits.batch_rows),
            gateways: Gateways::new([Arc::new(gateway) as Arc<dyn crate::gateways::payment::PaymentGateway>]),
            clock: Arc::clone(&clock),
            limits: CheckoutLimits::from(&config.limits),
            traces: Arc::default(),
        });
        let membership = Handle::default();
        let received = Inbox {
            regions: regions.clone(),
            requests: Arc::clone(&requests),
            membership: Handle::clone(&membership),
            transport,
        };
        // It was made a few lines above, and is set once.
        let _ = inbox.set(received);
        let ownership = Arc::new(OwnershipEffects {
            me: node.name.clone(),
            regions: regions.clone(),
            sagas,
            sweeper: Handle::default(),
            peers: Handle::default(),
            gossip,
            links: links.clone(),
            superseded: CancellationToken::new(),
            requests,
            lease: config.membership.verified_ms.duration(),
        });
        let overload = Overload::new(config.limits.overload_ms.duration(), regions.clone());
        Ok(Self {
            probe: Arc::new(Probe::new(Arc::clone(&routing), links, me.identity())),
            admission: Arc::new(Admission::new(config.limits.in_flight_commands, overload)),
            background: TaskTracker::new(),
            supervision: SupervisionStatus::default(),
            drain: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            front_ended: CancellationToken::new(),
            config,
            me,
            stores,
            key,
            tls,
            routing,
            regions,
            accounts,
            checkout,
            membership,
            ownership,
            clock,
            cluster_listener,
            shop_listener,
            operator_listener,
            metrics,
            shop_tls,
            operator_tls,
            client,
        })
    }
}

async fn start_gossip(config: &Config, me: &Member, key: &ClusterKey) -> Result<Arc<Gossip>, NodeError> {
    let others = config.nodes.iter().filter(|node| node.name != me.name);
    let settings = GossipSettings {
        cluster: config.cluster.name.clone(),
        seeds: others.map(|node| node.gossip.to_string()).collect(),
        interval: config.membership.gossip_interval_ms.duration(),
    };
    Ok(Gossip::start(settings, key, me).await?)
}
