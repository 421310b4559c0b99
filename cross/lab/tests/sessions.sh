# Sessions over a real broker: hints, verdicts with a nonce, a ban that survives SIGKILL and is lifted, switches.
. /host/lib.sh
broker start
listen
configure MJPG 10
sed -i 's/^decision: {/&mode: on_request, /' livenessd.yaml
cat >>livenessd.yaml <<END
applications:
  door:
  bank: {on_attack: ban, after: 2, within: 60m, for: 60m, thresholds: {enrollment: normal}}
state: /run/state
END

scene() { tell loop $(awk -v scene="$1" '$1 == scene { print $2, $3 }' scenes/index); }

# ask VERB DOCUMENT
ask() { mosquitto_pub -q 1 -t "livenessd/lab/request/$1" -m "$2" || die "nobody takes a request"; }
# session TRANSACTION APPLICATION [SUBJECT]
session() {
  ask session "{\"transaction\":\"$1\",\"application\":\"$2\",\"purpose\":\"authentication\",\"subject\":\"${3:-nobody}\",\"nonce\":\"n-$1\",\"timeout\":\"3m\"}"
  await 30 "a response to $1" responded session "$1"
}
responded() { heard "response/$1" "\"transaction\":\"$2\""; }
refused() { heard response/session "\"transaction\":\"$1\".*\"code\":\"$2\""; }
# answered NONCE PATTERN
answered() { heard 'session/[^"]*' "\"verdict\":.*$2.*\"nonce\":\"$1\""; }
id() { tr -d '\\' <messages | sed -n "s/.*\"topic\":\"livenessd\/lab\/response\/session\".*\"transaction\":\"$1\".*\"session\":\"\([^\"]*\)\".*/\1/p" | tail -1; }

plug none
mark hints
start_daemon
await 120 "a streaming camera" state streaming
session s1 door
await 60 "a hint" heard "session/$(id s1)" '"code":"NO_FACES_DETECTED"'
ask cancel "{\"transaction\":\"c1\",\"session\":\"$(id s1)\"}"
await 30 "the end of a cancelled session" answered n-s1 '"code":"SESSION_EXPIRED"'

mark live
scene live
session s2 door u1
await 200 "a live verdict" answered n-s2 '"code":null'

mark ban
scene replay
session b1 bank u1
await 200 "a spoof verdict" answered n-b1 PAD_ATTACK
session b2 bank u1
await 200 "another" answered n-b2 PAD_ATTACK
session b3 bank u1
refused b3 LOCKED_OUT || die "nobody is banned"

mark kill
scene none
sleep 5
session k1 door
kill -KILL "$DAEMON"
wait "$DAEMON"
mark restart
start_daemon
await 60 "the answer of the session that was killed" answered n-k1 SESSION_EXPIRED
await 120 "a streaming camera" state streaming
session b4 bank u1
refused b4 LOCKED_OUT || die "the ban is forgotten"

mark unlock
ask unlock '{"transaction":"u1","subject":"u1"}'
await 30 "an unlocking" heard response/unlock '"lifted":1'
scene replay
session b5 bank u1
await 200 "a spoof verdict" answered n-b5 PAD_ATTACK

mark off
mosquitto_pub -q 1 -t livenessd/lab/application/door/liveness/set -m '{"authentication":false}'
await 30 "a switch that is off" heard application/door/liveness/state '"authentication":false'
session o1 door
await 30 "an answer at once" answered n-o1 '"liveness":"off"'

mark on
mosquitto_pub -q 1 -t livenessd/lab/application/door/liveness/set -m '{"authentication":true}'
await 30 "a switch that is on" heard application/door/liveness/state '"authentication":true'
session o2 door
await 200 "a spoof verdict" answered n-o2 PAD_ATTACK
running || die "the daemon is gone"

mark term
scene none
sleep 5
session t1 door
kill -TERM "$DAEMON"
wait "$DAEMON"
result exit $?
await 20 "the answer of a session that was running" answered n-t1 SESSION_EXPIRED
