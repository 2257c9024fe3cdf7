//! `[transport]`: limits of the links between nodes.

use super::error::Problems;
use super::section::{Milliseconds, Settings, numbers};
use souk_cluster::transport::{StreamLimits, TransportSettings};

numbers! {
    /// `[transport]`: limits of the links between nodes.
    Transport "transport" {
        /// Longest time for a TLS handshake.
        handshake_ms: Milliseconds = 5000, 100..=60000;
        /// Most concurrent handshakes.
        handshakes: usize = 64, 1..=10000;
        /// A link that receives nothing for this long is closed; ractor pings every 1 to 5 seconds.
        idle_ms: Milliseconds = 10000, 5000..=600000;
        /// A link on which a pending write makes no progress for this long is closed.
        write_stall_ms: Milliseconds = 5000, 100..=600000;
        /// Longest pause between two attempts to reach a peer.
        redial_ms: Milliseconds = 2000, 50..=60000;
    }
}

impl Settings for Transport {
    fn check(&self, problems: &mut Problems) {
        self.check_ranges(problems);
    }
}

impl From<&Transport> for TransportSettings {
    fn from(transport: &Transport) -> Self {
        let stream = StreamLimits {
            idle: transport.idle_ms.duration(),
            write_stall: transport.write_stall_ms.duration(),
        };
        Self::new(
            transport.handshake_ms.duration(),
            transport.handshakes,
            stream,
            transport.redial_ms.duration(),
        )
    }
}
