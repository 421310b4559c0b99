"""The liveness nets' crop (rule minifasnet): the same integers as the Go side and as upstream."""
import cv2


def crop_rect(box, scale, w, h):
    """First and last pixel: the box scaled about its centre, clamped to fit, shifted inside."""
    x, y, bw, bh = box[:4]
    s = min((h - 1) / bh, (w - 1) / bw, scale)

    def inside(centre, size, last):
        lo, hi = centre - size / 2, centre + size / 2
        if lo < 0:
            lo, hi = 0, hi - lo
        if hi > last:
            lo, hi = lo - (hi - last), last
        return int(max(lo, 0)), int(min(max(hi, 0), last))

    x0, x1 = inside(x + bw / 2, bw * s, w - 1)
    y0, y1 = inside(y + bh / 2, bh * s, h - 1)
    return x0, y0, x1, y1


def crop(img, box, scale=2.7, size=80):
    x0, y0, x1, y1 = crop_rect(box, scale, img.shape[1], img.shape[0])
    return cv2.resize(img[y0:y1 + 1, x0:x1 + 1], (size, size), interpolation=cv2.INTER_LINEAR)
