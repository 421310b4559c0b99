# The service on a bare system: install by command, without and with a camera; what systemd thinks of the unit; broker with TLS and a
# password from a credential; reload; uninstall.
. /host/lib.sh
. /host/lib-service.sh
mkdir -p /root/build
cp /opt/livenessd/* /root/build/
PATH=/root/build:$PATH
tls_broker
tree >before

mark user
setpriv --reuid=65534 --regid=65534 --clear-groups /opt/livenessd/livenessd install >user.log 2>&1
result user_exit $?
cat user.log

mark bare
listen
configuration
start=$(date +%s.%N)
livenessd install --wait 5s
result bare_exit $?
result bare_seconds "$(since "$start")"
livenessd status
result bare_status $?
await 120 "a state without a camera" unwell

mark plugged
plug live
await 300 "a service that is ready" active
result ready_status "$(property StatusText)"
await 300 "a live verdict" verdict live
tells_it() { livenessd status --json >/host/out/status.json && grep -q '"live"' /host/out/status.json; } # written once a second
await 60 "a status with that verdict" tells_it

mark twice
pid=$(property MainPID)
livenessd install || die "a second install fails"
[ "$(property MainPID)" = "$pid" ] || die "a second install starts it again"

mark unit
systemd-analyze verify livenessd.service >/host/out/verify 2>&1
result verify $?
systemd-analyze security --no-pager livenessd.service >/host/out/security
result security "$(sed -n 's/.*Overall exposure level for livenessd.service: \([0-9.]*\).*/\1/p' /host/out/security)"
result memory "$(property MemoryCurrent)"

# The technician's page from inside the cage: a link, pictures, another mode, controls, the doctor, and a change that the cage forbids to write.
mark console
page=http://127.0.0.1:8470
ask() { curl -sS -b jar -c jar -H "Origin: $page" -H 'Content-Type: application/json' "$@"; }
code() { ask -o answer -w '%{http_code}' "$@"; }
link=$(livenessd console --json | sed -n 's/.*#link=\([^"]*\)".*/\1/p')
result console_login "$(code -d "{\"link\":\"$link\"}" $page/api/session)"
result console_again "$(code -d "{\"link\":\"$link\"}" $page/api/session)"
link=$(livenessd console --json | sed -n 's/.*#link=\([^"]*\)".*/\1/p')
code -d "{\"link\":\"$link\"}" $page/api/session
ask --max-time 20 -o pictures $page/api/cameras/front/pictures
result console_pictures "$(grep -ac '^Content-Type: image/jpeg' pictures)"
rm pictures
ask $page/api/cameras/front/device >/host/out/console-device
result console_controls "$(code -d '{"controls":{"brightness":"7"}}' $page/api/cameras/front/controls)"
grep -o '"name":"brightness"[^}]*' answer
result console_trial "$(code -d '{"changes":[{"path":["rotate"],"value":180}]}' $page/api/cameras/front/trial)"
result console_untrial "$(code -X DELETE $page/api/cameras/front/trial)"
await 60 "a streaming camera" state streaming
result console_doctor "$(code --max-time 280 -X POST $page/api/doctor)"
cp answer /host/out/console-doctor
ask -d '{"changes":[{"path":["console","viewers"],"value":3}]}' $page/api/config/preview >preview
text=$(sed 's/.*"text":\(".*"\),"difference":.*/\1/' preview)
digest=$(sed 's/.*"digest":"\([0-9a-f]*\)".*/\1/' preview)
result console_change "$(code -d "{\"text\":$text,\"digest\":\"$digest\"}" $page/api/config)"
cat answer
grep -q viewers /etc/livenessd/livenessd.yaml && die "it was written from inside the cage"
livenessd console --apply --yes
result console_apply $?
result console_written "$(sed -n 's/^  viewers: //p' /etc/livenessd/livenessd.yaml)"
result console_owner "$(stat -c '%U:%G %a' /etc/livenessd/livenessd.yaml)"
journalctl -u livenessd --no-pager | grep -cF -e "$(cat /var/lib/livenessd/console.token)" -e "$link" >secrets
result console_secrets "$(cat secrets)"

# An accelerator is a node of USB that belongs to plugdev, as udev's rule has it: here the camera's own, opened from inside the same cage.
mark accelerator
usb=$(readlink -f "/sys/class/video4linux/$(basename "$(readlink -f "$CAMERA")")/device/..")
printf -v node /dev/bus/usb/%03d/%03d "$(<"$usb/busnum")" "$(<"$usb/devnum")"
chgrp plugdev "$node"
chmod 0660 "$node"
chmod o+r /dev/vda # nobody but the cage forbids this one
setpriv --reuid=livenessd --regid=livenessd --clear-groups head -c 1 /dev/vda >/dev/null || die "the disk can't be read from outside the cage"
livenessd install --dry-run --name probe |
  sed "/^Type=/d; /^NotifyAccess=/d; /^WatchdogSec=/d; /^ExecReload=/d; /^Restart/d; /^LoadCredential=/d; /^StateDirectory/d; /^RuntimeDirectory/d
    s|^ExecStart=.*|Type=oneshot\nExecStart=/bin/sh -c 'exec 3<>$node'\nExecStart=/bin/sh -c '! (exec 3</dev/vda) 2>/dev/null'|" >/run/systemd/system/probe.service
systemctl daemon-reload
systemctl start probe
result accelerator $?
rm /run/systemd/system/probe.service
systemctl daemon-reload

mark refused
cp /etc/livenessd/livenessd.yaml good.yaml
echo 'decsion: {}' >>/etc/livenessd/livenessd.yaml
systemctl reload livenessd
await 120 "a refusal" says "the old configuration stays"
[ "$(property MainPID)" = "$pid" ] || die "it was started again"

mark reloaded
mkdir -p /run/systemd/timesync
touch /run/systemd/timesync/synchronized # as systemd-timesyncd would: the kernel can't be asked from inside the cage
sed 's/^log:.*/log: {format: json, level: debug}/' good.yaml >/etc/livenessd/livenessd.yaml
echo 'metrics: {listen: "127.0.0.1:8471"}' >>/etc/livenessd/livenessd.yaml
systemctl reload livenessd
await 120 "a new online" heard availability '"payload":"online"'
await 120 "a service that is ready" active
await 120 "a streaming camera" state streaming
await 300 "a verdict whose clock is set" heard camera/front/verdict '"clock_synced":true'
[ "$(property MainPID)" = "$pid" ] || die "it was started again"

mark figures # from inside the cage
await 60 "readiness" curl -sf -o /dev/null http://127.0.0.1:8471/readyz
curl -sf http://127.0.0.1:8471/metrics >/host/out/metrics || die "nobody shows figures"
livenessd doctor metrics >/host/out/port || die "doctor finds the port wrong"

mark purged
livenessd uninstall --purge || die "uninstall fails"
tree >after
diff before after >/host/out/left
result left "$(wc -l </host/out/left)"
await 20 "an offline" heard availability '"payload":"offline"'
