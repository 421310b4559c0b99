package broker

import (
	"slices"
	"sync"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// order lets one retained message or subscription through at a time. On their own, mochi's clients collect what is retained
// while others change it, without a lock: a data race, and a new subscriber may get one message twice, or the older of two
// last.
//
// mochi tells a hook when it begins with a packet and when it has ended, but not of one that it finds invalid in between: the
// hook has to ask first what mochi will ask.
//
// Nor does it keep its own packets' numbers apart from the client's: a subscription whose number is that of a message on its way to the client is
// refused. Then that message is taken for acknowledged.
type order struct {
	mqtt.HookBase
	aliases uint16 // highest topic alias that mochi allows
	mu      sync.Mutex
}

var _ mqtt.Hook = (*order)(nil)

func (o *order) ID() string { return "order" }

func (o *order) Provides(b byte) bool {
	return slices.Contains([]byte{mqtt.OnPacketRead, mqtt.OnPacketProcessed, mqtt.OnWill, mqtt.OnWillSent, mqtt.OnSubscribe}, b)
}

// alone tells whether a packet has to wait for others.
func (o *order) alone(pk packets.Packet) bool {
	switch pk.FixedHeader.Type {
	case packets.Subscribe:
		return pk.SubscribeValidate() == packets.CodeSuccess
	case packets.Publish:
		return pk.FixedHeader.Retain && pk.PublishValidate(o.aliases) == packets.CodeSuccess
	}
	return false
}

func (o *order) OnPacketRead(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if o.alone(pk) {
		o.mu.Lock()
	}
	return pk, nil
}

func (o *order) OnPacketProcessed(c *mqtt.Client, pk packets.Packet, _ error) {
	if !c.Net.Inline && o.alone(pk) { // what wasn't read, Publish has put in order
		o.mu.Unlock()
	}
}

func (o *order) OnSubscribe(c *mqtt.Client, pk packets.Packet) packets.Packet {
	if own, there := c.State.Inflight.Get(pk.PacketID); there && own.FixedHeader.Type == packets.Publish && c.State.Inflight.Delete(pk.PacketID) {
		c.State.Inflight.IncreaseSendQuota()
	}
	return pk
}

// OnWill comes before a will is published, unless that is put off, which only MQTT 5 can ask for.
func (o *order) OnWill(_ *mqtt.Client, w mqtt.Will) (mqtt.Will, error) {
	if w.Retain && w.WillDelayInterval == 0 {
		o.mu.Lock()
	}
	return w, nil
}

func (o *order) OnWillSent(_ *mqtt.Client, pk packets.Packet) {
	if pk.FixedHeader.Retain {
		o.mu.Unlock()
	}
}
