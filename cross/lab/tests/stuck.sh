# A driver that never returns, and the service as it is installed: the camera answers nothing any more, not even that a transfer was cancelled,
# for which the kernel waits without end. Nothing can end what is inside such a call, no signal either; another process is started all
# the same, and judges faces as soon as the camera answers again.
. /host/lib.sh
. /host/lib-service.sh
LOG=/host/out/service.log # the watchdog's abort leaves stacks in it
cp /opt/livenessd/* /usr/local/bin/
PATH=/usr/local/bin:$PATH

tls_broker
listen
configuration
plug live
livenessd install --wait 5m || die "it doesn't get ready"
await 300 "a live verdict" verdict live

mark stuck
pid=$(property MainPID)
camera=$(pgrep -x uvccam)
start=$(date +%s.%N)
kill -STOP "$camera"
standing() { property StatusText | grep -q "doesn't get on"; }
await 200 "a status line that says so" standing
result said "$(since "$start")"
result line "$(property StatusText)"
livenessd doctor camera >/host/out/standing 2>&1
await 300 "another process" another "$pid"
result process "$(since "$start")"
result caller "$(cat "/proc/$pid/task/"*/stat 2>/dev/null | sed 's/.*) //; s/ .*//' | sort | uniq -c | tr -s ' \n' ' ')"
sleep 20
{ systemctl status --no-pager livenessd; livenessd status; livenessd doctor service camera disk; } >/host/out/meanwhile 2>&1
result again "$(property NRestarts)"

mark answers
start=$(date +%s.%N)
kill -CONT "$camera"
await 300 "a streaming camera" state streaming
await 300 "a verdict" heard camera/front/verdict '"verdict":'
result judged "$(since "$start")"
result restarts "$(property NRestarts)"
[ ! -e "/proc/$pid" ] || die "the process that was stuck is still there"
