# The broker comes after the daemon, and goes and comes back meanwhile.
. /host/lib.sh
configure MJPG 10
plug live
start_daemon
await 120 "a streaming camera" logged '"camera streaming"'
await 180 "a verdict" logged '"verdict":"live"'
running || die "the daemon is gone"

mark late
kill -STOP "$DAEMON" # else it may be at the broker before the listener, and what it has to tell is gone
broker start
listen
kill -CONT "$DAEMON"
await 60 "an online" heard availability '"payload":"online"'
await 20 "a state" state streaming
await 20 "what was decided meanwhile" verdict live

mark gone
broker stop
await 60 "a lost broker" logged '"broker'
mark back
broker start
await 90 "an online" heard availability '"payload":"online"'
await 20 "a state" state streaming
unplug

mark replay
plug replay
await 180 "a spoof verdict" verdict spoof
running || die "the daemon is gone"
