#!/bin/sh
# Makes everything in this folder with ffmpeg: one picture of the demo's clip, small, and that as cameras send it, by
# ffmpeg's converters and not by ours. Run it here; FFMPEG names another ffmpeg.
set -eu
ff() { ${FFMPEG:-ffmpeg} -hide_banner -loglevel error -y "$@"; }
ff -f mjpeg -i ../../../daemon/demo/clip.mjpeg -vf 'select=eq(n\,40),crop=300:225:170:120,scale=40:30:flags=area' -frames:v 1 -pix_fmt rgb24 picture.ppm
# raw NAME PIX_FMT [FILTER]
raw() { ff -i picture.ppm -vf "${3:-null}" -sws_flags area+accurate_rnd -f rawvideo -pix_fmt "$2" "$1"; }
# What the samples should be, as planes one after the other.
raw 422.planes yuv422p
raw 420.planes yuv420p
raw jpeg.planes yuvj420p
raw grey.planes gray
# What a camera sends.
raw YUYV yuyv422 format=yuv422p # which is otherwise rounded in another way
raw UYVY uyvy422
raw YVYU yvyu422
raw NV12 nv12
raw NV21 nv21
raw YU12 yuv420p
raw YV12 yuv420p 'format=yuv420p,shuffleplanes=0:2:1:3'
raw RGB3 rgb24
raw BGR3 bgr24
raw GREY gray
raw Y10 gray10le
raw Y16 gray16le
raw Y16.12 gray12le
${FFMPEG:-ffmpeg} -version | head -1 >VERSION
