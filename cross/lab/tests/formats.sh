# Each format that vivid and the daemon have: the still test pattern, against what v4l2-ctl captures of it as RGB3.
set -u
: >/host/out/messages
: >/host/out/daemon.log
modprobe vivid n_devs=1 node_types=0x1 num_inputs=1 input_types=0x00 || exit 1
v4l2-ctl -d /dev/video0 -c osd_text_mode=2 -c horizontal_movement=3 -c vertical_movement=3 || exit 1
v4l2-ctl -d /dev/video0 --set-fmt-video=width=320,height=180,pixelformat=RGB3 --stream-mmap --stream-count=1 --stream-to=/run/reference.rgb >/dev/null || exit 1
cp /run/reference.rgb /host/out/
cd /run
LIVENESSD_VIVID=/run/reference.rgb /host/camera.test -test.v -test.run '^TestVivid$' >/host/out/formats.log 2>&1
code=$?
cat /host/out/formats.log
exit $code
