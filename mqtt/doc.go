// Package mqtt is what the daemon says to the outside: topics, documents, and the client that delivers them.
//
// Client keeps one MQTT 3.1.1 connection to a broker and makes a new one whenever it is lost. Its callers never wait for
// the network: states are kept, the newest of each camera, and verdicts are queued in memory. A verdict leaves the queue
// only when the broker acknowledged it, in order for each camera, so that it may arrive twice: subscribers dedupe by
// (device, boot, seq). A verdict that isn't consistent in itself is never published: see Verdict.Check.
//
// Hosts ask over the same connection: with Options.Requests the client listens to requests and switches, whose documents the Parse…Request
// functions read, strictly and within bounds. MQTT 3.1.1 tells neither when a message was sent nor by whom: who may ask is the
// broker's access list to say, and a request's age is what its sent_at says. The session is a clean one, so that what is asked
// while the device is away is lost and never comes late; what is retained says so (Asked.Retained). Responses and hints wait for
// the network half a minute at most.
//
// The package doesn't promise delivery: the queue is bounded, and it is gone with the process. What was lost is counted
// (Status). Nor does it judge: a verdict that arrives late says so (replayed), but whether anybody may still act on it is
// the subscriber's question to expires_at.
//
// For subscribers there are Subscribe, ParseVerdict and the JSON Schemas of the documents (Schemas).
package mqtt
