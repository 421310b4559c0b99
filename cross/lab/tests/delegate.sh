# An accelerator's delegate that hangs while the service as it is installed uses it: told, another process without it, faces judged again; and
# the same after a restart. The accelerator is the plug-in of tflite/fake.
. /host/lib.sh
. /host/lib-service.sh
LOG=/host/out/service.log
cp /opt/livenessd/* /usr/local/bin/
PATH=/usr/local/bin:$PATH
mkdir -p /usr/local/lib/livenessd
cp /host/libfake.so /usr/local/lib/livenessd/

tls_broker
listen
configuration
cat >>/etc/livenessd/livenessd.yaml <<'END'
inference:
  deadline: 5s
  delegate: [{name: "external:/usr/local/lib/livenessd/libfake.so", options: {claim: 3, do: hang, when: /etc/livenessd/trouble}}, xnnpack]
END
plug live
livenessd install --wait 5m || die "it doesn't get ready"
await 300 "a verdict" heard camera/front/verdict '"delegate":"external:/usr/local/lib/livenessd/libfake.so"'

mark stuck
pid=$(property MainPID)
start=$(date +%s.%N)
touch /etc/livenessd/trouble
await 120 "a camera state that says so" heard camera/front/state "didn't return within 5s"
result said "$(since "$start")"
await 60 "info that says so" heard info '"state":"refused"'
await 120 "another process" another "$pid"
result process "$(since "$start")"
await 300 "a verdict without it" heard camera/front/verdict '"delegate":"xnnpack"'
result judged "$(since "$start")"
result restarts "$(property NRestarts)"
await 60 "a status line that says so" says 'without delegate external:'
{ livenessd status; livenessd doctor models; } >/host/out/meanwhile 2>&1
cp /var/lib/livenessd/delegates.json /host/out/

mark restarted
systemctl restart livenessd
await 300 "info that it rests" heard info '"state":"resting"'
await 300 "a verdict without it" heard camera/front/verdict '"delegate":"xnnpack"'
result again "$(property NRestarts)"
