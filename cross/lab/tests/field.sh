# What happens to a service in the field, each time until faces are judged again, without hands: SIGKILL, SIGSTOP, a frozen camera, an unplugged
# camera. And installations that fail or are killed half way.
. /host/lib.sh
. /host/lib-service.sh
LOG=/host/out/service.log # the watchdog's abort leaves stacks in it
cp /opt/livenessd/* /usr/local/bin/ # in place, with its library beside it: nothing is copied
PATH=/run/shim:/usr/local/bin:$PATH
mkdir shim
tree >before

# shim PROGRAM LINE... puts a script before a program of the system.
shim() {
  printf '#!/bin/bash\n%s\n' "$2" >"shim/$1"
  chmod 755 "shim/$1"
}

mark broken
for program in useradd usermod chown; do
  shim $program 'exit 1'
  livenessd install && die "it doesn't miss $program"
  rm shim/$program
  tree >after
  diff before after || die "something is left after $program failed"
done
shim systemctl 'case $1 in enable) exit 1;; esac; exec /usr/bin/systemctl "$@"'
livenessd install && die "it doesn't miss enable"
rm shim/systemctl
tree >after
diff before after || die "something is left after enabling failed"

mark interrupted
shim usermod 'kill -KILL $PPID'
livenessd install
[ $? = 137 ] || die "it wasn't killed"
rm shim/usermod
getent passwd livenessd >/dev/null || die "it was killed too early"

mark start
tls_broker
listen
configuration
plug live
livenessd install --wait 5m || die "no repair of what was killed"
await 300 "a live verdict" verdict live

recovered() {
  await 300 "a streaming camera" state streaming
  await 300 "a verdict" heard camera/front/verdict '"verdict":'
  result "$1" "$(since "$start")"
}

for signal in KILL STOP; do
  mark $signal
  pid=$(property MainPID)
  start=$(date +%s.%N)
  systemctl kill -s $signal --kill-who=main livenessd
  await 200 "another process" another "$pid"
  result "$signal-process" "$(since "$start")"
  recovered $signal
done
result restarts "$(property NRestarts)"

mark frozen
pid=$(property MainPID)
start=$(date +%s.%N)
tell freeze
await 60 "the state of a frozen camera" unwell
sleep 60 # longer than the watchdog waits
[ "$(property MainPID)" = "$pid" ] || die "a frozen camera is a reason for a restart"
mark thawed
start=$(date +%s.%N)
tell go
recovered thawed

mark unplugged
unplug
sleep 60
[ "$(property MainPID)" = "$pid" ] || die "an absent camera is a reason for a restart"
mark plugged
start=$(date +%s.%N)
plug live
recovered plugged
[ "$(property MainPID)" = "$pid" ] || die "it was started again"

mark memory
result memory "$(property MemoryCurrent)"

mark nobody
livenessd uninstall --purge
livenessd uninstall --purge || die "what isn't there is missed"
livenessd status
result status $?
