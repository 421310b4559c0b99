# doctor.sh FAULT...: breaks the machine in one way after the other, and lets doctor look. What it said of each lies
# in /host/out/FAULT.json, its exit code in results.
. /host/lib.sh
STATE=/var/lib/livenessd

# diagnose CHECK... runs doctor with doctor.yaml.
diagnose() {
  local code=0
  livenessd doctor --json --config doctor.yaml "$@" >"/host/out/$FAULT.json" 2>>daemon.log || code=$?
  result "$FAULT" "$code"
}

# config LINE... writes doctor.yaml.
config() { printf '%s\n' 'device: lab' "$@" >doctor.yaml; }
front() { config "state: $STATE" "cameras: {front: {allow_virtual: true, $1}}"; }
broker_at() { config "mqtt: {$1}"; }

camera_missing() { front "path: $CAMERA"; diagnose camera; }
camera_busy() {
  v4l2-ctl -d /dev/video0 --set-fmt-video=width=640,height=480,pixelformat=YUYV --stream-mmap >/dev/null 2>&1 &
  local other=$!
  streams() { v4l2-ctl -d /dev/video0 --set-fmt-video=width=320,height=180 2>&1 | grep -qi busy; }
  await 30 "another program that streams" streams
  front "path: /dev/video0, format: YUYV, fps: 5"
  diagnose camera
  kill "$other"
  wait "$other"
}
not_in_group() {
  gpasswd -d livenessd video >/dev/null
  front "path: /dev/video0, format: YUYV, size: 320x180, fps: 5"
  diagnose camera
  usermod -aG video livenessd
}
nobodys_device() {
  chmod 0600 /dev/video0
  front "path: /dev/video0, format: YUYV, size: 320x180, fps: 5"
  diagnose camera
  chmod 0660 /dev/video0
}
metadata_node() { plugged; front "path: ${CAMERA%0}1"; diagnose camera; }
wrong_format() { plugged; front "path: $CAMERA, format: NV12"; diagnose camera; }
wrong_size() { plugged; front "path: $CAMERA, size: 1920x1080, fps: 10"; diagnose camera; }
black_picture() {
  dd if=/dev/zero bs=614400 count=1 status=none | tr '\000' '\020' >black.yuyv
  camfeed /dev/video10 640x480 YUYV 5 black.yuyv &
  front "path: /dev/video10, fps: 5"
  sleep 1
  diagnose camera
  kill $!
}
slow_camera() {
  camfeed /dev/video10 640x480 YUYV 0.7 scenes/frames.yuyv &
  front "path: /dev/video10, fps: 15"
  sleep 1
  diagnose camera
  kill $!
}
unfed_loopback() { front "path: /dev/video11"; diagnose camera; }

library_missing() { config "models: {runtime: /run/none.so}"; diagnose library models; }
library_garbage() { head -c 100000 /dev/urandom >garbage.so; config "models: {runtime: /run/garbage.so}"; diagnose library; }
library_of_another_machine() {
  cp /opt/livenessd/libtensorflowlite_c.so arm.so
  printf '\267' | dd of=arm.so bs=1 seek=18 conv=notrunc status=none # e_machine
  config "models: {runtime: /run/arm.so}"
  diagnose library
  rm arm.so
}
library_too_old() {
  sed 's/2\.9\.0/1.9.0/g' /opt/livenessd/libtensorflowlite_c.so >old.so
  config "models: {runtime: /run/old.so}"
  diagnose library
  rm old.so
}
library_of_another_version() {
  sed 's/2\.9\.0/2.8.0/g' /opt/livenessd/libtensorflowlite_c.so >other.so
  config "models: {runtime: /run/other.so}" "inference: {delegate: [xnnpack, none]}"
  diagnose library models
  rm other.so
}
lying_library() { config "models: {runtime: /host/liar.so}"; diagnose library models; }
damaged_model() {
  cp -r /host/bundle damaged
  printf 'x' | dd of=damaged/livenessd-liveness.tflite bs=1 seek=20000 conv=notrunc status=none
  config "models: {liveness: /run/damaged}"
  diagnose models
}
another_model_file() { config "models: {liveness: /host/swapped}"; diagnose models; }

broker_down() { broker_at "url: 'mqtt://localhost:1999'"; diagnose broker; }
unknown_host() { broker_at "url: 'mqtt://no-such-broker.invalid'"; diagnose broker; }
secret() { printf '%s' "$1" >password; chown root:livenessd password; chmod 0640 password; }
wrong_password() { secret wrong; broker_at "url: 'mqtt://localhost:1884', username: door, password_file: /run/password"; diagnose broker; }
denied() { secret right; broker_at "url: 'mqtt://localhost:1884', username: reader, password_file: /run/password"; diagnose broker; }
unknown_authority() { broker_at "url: 'mqtts://localhost:8883', ca_file: /host/pki/other.pem"; diagnose broker; }
expired_certificate() { broker_at "url: 'mqtts://localhost:8884', ca_file: /host/pki/ca.pem"; diagnose broker; }
port_without_tls() { broker_at "url: 'mqtts://localhost:1883', ca_file: /host/pki/ca.pem"; diagnose broker; }

clock_of_nobody() { config; diagnose clock; }
disk_full() {
  mkdir -p /mnt/full
  mount -t tmpfs -o size=64k tmpfs /mnt/full
  chown livenessd: /mnt/full
  head -c 1M /dev/zero >/mnt/full/fill 2>/dev/null
  config "state: /mnt/full"
  diagnose disk
  umount /mnt/full
}
disk_read_only() {
  mkdir -p /mnt/ro
  mount -t tmpfs tmpfs /mnt/ro
  chown livenessd: /mnt/ro
  mount -o remount,ro /mnt/ro
  config "state: /mnt/ro"
  diagnose disk
  umount /mnt/ro
}
foreign_state() { mkdir -p /mnt/foreign; config "state: /mnt/foreign"; diagnose disk; }
unknown_key() { config "mqtt: {ulr: x}"; diagnose; }
open_secret() { secret right; chmod 0644 password; broker_at "username: door, password_file: /run/password"; diagnose files; }
closed_secret() { secret right; chmod 0600 password; broker_at "username: door, password_file: /run/password"; diagnose files; }

# unit CONFIG installs a plain unit: what `livenessd install` makes is another test's matter.
unit() {
  cat >/run/systemd/system/livenessd.service <<END
[Service]
ExecStart=/opt/livenessd/livenessd run --config $1
User=livenessd
SupplementaryGroups=video
RuntimeDirectory=livenessd
StateDirectory=livenessd
END
  systemctl daemon-reload
}
failed_unit() {
  printf 'mqtt: {ulr: x}\n' >/run/broken.yaml
  chmod 0644 /run/broken.yaml
  unit /run/broken.yaml
  systemctl start livenessd
  await 60 "a failed unit" systemctl -q is-failed livenessd
  config
  diagnose service
  systemctl reset-failed livenessd
}
# All is well but the clock, beside the service as it is installed, which has the camera. Its configuration is the one that is looked at.
well() {
  plugged
  rm -f /run/systemd/system/livenessd.service
  mkdir -p /etc/livenessd
  printf '%s\n' 'device: lab' 'decision: {cues: {repeat: off}}' "cameras: {front: {path: $CAMERA, allow_virtual: true, format: MJPG, fps: 10}}" >/etc/livenessd/livenessd.yaml
  livenessd install --wait 3m >>daemon.log 2>&1 || die "install: exit code $?: $(tail -3 daemon.log)"
  local code=0
  livenessd doctor --json >"/host/out/$FAULT.json" 2>>daemon.log || code=$?
  result "$FAULT" "$code"
  livenessd doctor --bundle /host/out/bundle.tar.gz service camera broker >/host/out/well.txt || die "exit code $?"
  systemctl stop livenessd
}

USB=
plugged() { [ -n "$USB" ] || { plug live; USB=1; }; }

useradd -r -s /usr/sbin/nologin -G video livenessd
install -d -o livenessd -g livenessd "$STATE"
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x00
modprobe v4l2loopback video_nr=10,11 exclusive_caps=1,1 devices=2
mkdir -p /run/mosquitto-test
mosquitto_passwd -c -b /run/passwords door right
mosquitto_passwd -b /run/passwords reader right
printf '%s\n' 'user door' 'topic readwrite #' 'user reader' 'topic read #' >/run/acl
printf '%s\n' 'user root' 'per_listener_settings true' 'listener 1883' 'allow_anonymous true' \
  'listener 1884' 'allow_anonymous false' 'password_file /run/passwords' 'acl_file /run/acl' \
  'listener 8883' 'allow_anonymous true' 'certfile /host/pki/good.pem' 'keyfile /host/pki/key.pem' \
  'listener 8884' 'allow_anonymous true' 'certfile /host/pki/expired.pem' 'keyfile /host/pki/key.pem' >mosquitto.conf
mosquitto -c mosquitto.conf >>mosquitto.log 2>&1 &
await 30 "a broker" mosquitto_pub -t lab/x -m x
udevadm settle


for FAULT; do
  begin=$SECONDS
  "$FAULT"
  echo "$FAULT: $((SECONDS - begin)) s"
done
