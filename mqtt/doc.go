// Package mqtt is what the daemon says to the outside: topics, documents, and the client that delivers them.
//
// Client keeps one MQTT 3.1.1 connection to a broker, of several in turn, and makes a new one whenever it is lost. Its callers wait neither for
// the network nor for the disk: states are kept, the newest of each camera, and verdicts are queued. With a Journal each verdict is on the
// disk before it is offered to the broker, and what an earlier run left there is delivered by the next. While the disk can't be
// written to, verdicts go out from memory, and info says so. A verdict leaves the queue and the journal only when the broker
// acknowledged it over the same connection, so that it may arrive twice: subscribers dedupe by (device, boot, seq). A verdict that isn't
// consistent in itself is never published: see Verdict.Check.
//
// Verdicts on which somebody may still act go first. Those that are late say so (replayed) and follow at a bounded rate. In each of
// these two kinds the order is kept for each camera.
//
// With a Signer each verdict is also published as a JWS whose payload is the very bytes of the document (topic verdict/jws), made when it is
// published, as replayed changes then. It is delivered when the broker acknowledged both over one connection.
//
// Hosts ask over the same connection: with Options.Requests the client listens to requests and switches, whose documents the Parse…Request
// functions read, strictly and within bounds. MQTT 3.1.1 tells neither when a message was sent nor by whom: who may ask is the
// broker's access list to say, and a request's age is what its sent_at says. The session is a clean one, so that what is asked
// while the device is away is lost and never comes late; what is retained says so (Asked.Retained). Responses, hints and telemetry wait
// for the network half a minute at most.
//
// The queue is bounded by count, bytes and age. What had to go, the oldest that aren't spoofs first, is counted (Status) and announced as a Gap, which
// is kept like a verdict. Nothing announces what was in memory alone when the process was killed. Nor does the package judge: whether
// anybody may still act on a verdict is the subscriber's question to expires_at.
//
// With mqtts:// the broker's certificate is always checked; files are read at each connection, and certificates that change are used without a
// restart. What fails is an Error, whose Kind and Hint say what it is and what to do; Probe looks for it step by step. None of it is tried
// again faster than anything else.
//
// With Options.HomeAssistant the client tells a Home Assistant at the same broker what the device is, and removes there what was told before and is no
// more. What it told it doesn't remember itself: see Announced.
//
// For subscribers there is Subscriber, which tells of each verdict once, whether anybody may act on it, what was refused, and what is missing;
// below it Subscribe, ParseVerdict, ParseGap, the JSON Schemas of the documents and an AsyncAPI description of all topics (Schemas).
package mqtt
