//! Sending one probe through smoltcp itself.

use ::smoltcp::iface::{Interface, SocketSet, SocketStorage};
use ::smoltcp::phy::{ChecksumCapabilities, Device};
use ::smoltcp::socket::{Socket, raw};
use ::smoltcp::time::Instant;
use ::smoltcp::wire::{
    IPV4_HEADER_LEN, IpEndpoint, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    TcpTimestampRepr, checksum,
};

use crate::Probe;

/// IPv6, TCP with timestamps padded to a word, an octet of garbage.
const PROBE_LEN: usize = 40 + 20 + 12 + 1;

/// Where a probe goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) local: IpEndpoint,
    pub(super) remote: IpEndpoint,
    pub(super) hop_limit: u8,
}

/// Sends `probe`; returns whether it is no longer waiting to leave. That it has left is certain
/// if a frame passed the tap meanwhile.
///
/// The packet is put into a raw socket, alone in a set of its own, and the interface is told to
/// send what that set holds. Routing, neighbour discovery, checksum offload and the medium's
/// header are then smoltcp's. The set never sees a received packet, or its raw socket would
/// suppress the RST that an unknown segment deserves.
pub(super) fn transmit<D: Device + ?Sized>(
    now: Instant,
    iface: &mut Interface,
    device: &mut D,
    probe: &Probe,
    route: &Route,
) -> bool {
    let Route {
        local,
        remote,
        hop_limit,
    } = *route;
    let tcp = tcp_repr(probe, route);
    let ip = IpRepr::new(
        local.addr,
        remote.addr,
        IpProtocol::Tcp,
        tcp.buffer_len(),
        hop_limit,
    );
    let checksums = device.capabilities().checksum;

    let mut tx_metadata = [raw::PacketMetadata::EMPTY];
    let mut tx_payload = [0; PROBE_LEN];
    let mut storage = [SocketStorage::EMPTY];
    let mut socket = raw::Socket::new(
        None,
        Some(IpProtocol::Tcp),
        raw::PacketBuffer::new(&mut [][..], &mut [][..]),
        raw::PacketBuffer::new(&mut tx_metadata[..], &mut tx_payload[..]),
    );
    let Ok(packet) = socket.send(ip.buffer_len()) else {
        return false;
    };
    let Some((header, payload)) = packet.split_at_mut_checked(ip.header_len()) else {
        return false;
    };
    ip.emit(&mut *header, &checksums);
    balance(header, &checksums);
    tcp.emit(
        &mut TcpPacket::new_unchecked(payload),
        &local.addr,
        &remote.addr,
        &checksums,
    );

    let mut sockets = SocketSet::new(&mut storage[..]);
    sockets.add(socket);
    iface.poll_egress(now, device, &mut sockets);
    sockets
        .iter()
        .all(|(_, socket)| matches!(socket, Socket::Raw(socket) if socket.send_queue() == 0))
}

/// Makes an IPv4 header's sum come out right though its checksum is left to the device.
///
/// On its way out of a raw socket smoltcp reads the header back. If the device computes checksums
/// but does not verify them, smoltcp verifies the one that is not there yet, and drops the packet
/// without a word. The identification, which smoltcp does not keep, can make up for it.
fn balance(header: &mut [u8], checksums: &ChecksumCapabilities) {
    if checksums.ipv4.tx() || header.len() != IPV4_HEADER_LEN {
        return;
    }
    let missing = !checksum::data(header);
    if let Some(identification) = header.get_mut(4..6) {
        identification.copy_from_slice(&missing.to_be_bytes());
    }
}

/// K12: SEQ = SND.NXT - 1, ACK = RCV.NXT, flags ACK, no data unless asked for.
fn tcp_repr(probe: &Probe, route: &Route) -> TcpRepr<'static> {
    TcpRepr {
        src_port: route.local.port,
        dst_port: route.remote.port,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(probe.seq().0.cast_signed()),
        ack_number: Some(TcpSeqNumber(probe.ack().0.cast_signed())),
        window_len: probe.window(),
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: probe
            .timestamps()
            .map(|(tsval, tsecr)| TcpTimestampRepr::new(tsval, tsecr)),
        payload: probe.payload(),
    }
}
