# All three kinds of cameras, listed by the daemon.
. /host/lib.sh
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x00
modprobe v4l2loopback video_nr=10,11 exclusive_caps=1,1 devices=2
camfeed /dev/video10 640x480 YUYV 15 /run/scenes/frames.yuyv &
plug live
ls /dev/video* /dev/v4l/by-id
livenessd cameras --json >/host/out/cameras.json || die "exit code $?"
setpriv --reuid=nobody --regid=nogroup --clear-groups /opt/livenessd/livenessd cameras --json >/host/out/refused.json || die "exit code $?"
