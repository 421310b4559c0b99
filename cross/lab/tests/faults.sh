# Faults that USB cameras have, one after the other: the daemon gets over each.
. /host/lib.sh
broker start
listen
configure MJPG 10
plug none
start_daemon
await 120 "a streaming camera" state streaming
for fault in freeze error short empty stall proto busy; do
  mark "$fault"
  tell "$fault"
  await 60 "trouble" unwell
  running || die "the daemon is gone"
  [ "$fault" != busy ] || await 60 "a refusal" logged 'input/output error'
  mark "after-$fault"
  tell go
  await 60 "a streaming camera" state streaming
done

kill -TERM "$DAEMON"
wait "$DAEMON"
result exit $?
