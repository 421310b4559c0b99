# The machine after its power was cut and came back, with the package on it: it works by itself; upgrade while there is much to tell,
# downgrade, what an administrator has disabled, remove, purge.
. /host/lib.sh
. /host/lib-package.sh

mark boot
is activating || is active || die "the service wasn't started at boot"
result waits "$(property StatusText)"
listen
plug live
await 300 "a service that is ready" is active
await 60 "a streaming camera" state streaming
await 300 "a live verdict" verdict live

# People come and go, as fast as verdicts are possible.
read -r _ a b < <(grep ^live scenes/index)
read -r _ c d < <(grep ^none scenes/index)
while sleep 6; do tell "loop $c $d"; sleep 3; tell "loop $a $b"; done &
crowd=$!

mark upgrade
await 300 "verdicts" more $(($(verdicts) + 3))
pid=$(property MainPID)
dpkg -i /host/new.deb || die "the upgrade fails"
await 300 "the new version" is active
[ "$(property MainPID)" != "$pid" ] || die "the old program is still running"
await 300 "verdicts" more $(($(verdicts) + 3))
result upgraded "$(version)"

mark downgrade
dpkg -i --force-downgrade /host/old.deb || die "the downgrade fails"
await 300 "the old version" is active
await 300 "verdicts" more $(($(verdicts) + 2))
result downgraded "$(version)"
grep -q "$DEVICE" /etc/livenessd/livenessd.yaml || die "the configuration is gone"
kill $crowd
tell "loop $c $d"
sleep 20 # what is still being decided is told
journalctl -b -u livenessd -o cat >/host/out/told

mark disabled
systemctl disable --now livenessd
dpkg -i /host/new.deb || die "the upgrade fails"
result disabled "$(systemctl is-enabled livenessd)/$(property ActiveState)"
systemctl enable --now livenessd
await 300 "a service that is ready" is active

mark removed
dpkg -r livenessd || die "it isn't removed"
await 20 "an offline" heard availability '"payload":"offline"'
result running "$(pgrep -c -x livenessd)"
result kept "$(ls -d /etc/livenessd/livenessd.yaml /var/lib/livenessd/state.db /var/lib/livenessd/journal.db 2>/dev/null | wc -l)"

mark purged
dpkg -P livenessd || die "it isn't purged"
tree >after
diff /root/before after >/host/out/left
[ ! -e /run/livenessd ] || echo /run/livenessd >>/host/out/left
[ -z "$(ls -A /dev/livenessd 2>/dev/null)" ] || ls /dev/livenessd/* >>/host/out/left
