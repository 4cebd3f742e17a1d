"""The pixel loop of the face renderer, compiled with Numba; `aelib.faces` is its only caller.

A face is a record ``f`` with one field per factor (see ``aelib.faces.FACTORS``). Lengths are in head units: the eyes
lie at y = 0, the cheekbones at |x| = 1, the chin near y = -1.45. Head coordinates are x (to the image's right),
y (up), z (to the viewer). Colours are linear light (squared sRGB values); edges are drawn over one pixel's footprint,
so that they are anti-aliased at every size.

The head is a stack of ellipses, one per height y, with half-width a(y) sqrt(g(y)) and half-depth c sqrt(g(y)) round
(0, z_c(y)); the relief (nose, brow, sockets, cheeks, lips, chin) is a height field added along z. A pixel's ray is met
with both by fixed-point iteration. The hair is a second, larger stack with a window for the face.
"""

import math

import numpy as np
from numba import njit

DEPTH = 1.10  # half-depth of the head
TABLE_LOW, TABLE_STEP, TABLE_ROWS = -2.6, 0.02, 231  # heights at which sections are tabulated
RELIEF_X, RELIEF_LOW, RELIEF_HIGH = 1.15, -1.75, 1.5  # extent of the relief grid
PIXELS_PER_UNIT = 0.252  # one head unit as a share of the image's width, at scale 1
EYE_LINE = 0.525  # where y = 0 lies, as a share of the image's height from the top
UNSIGNED, ONE = np.uint64, np.uint64(1)
HEIGHT, SLOPE_X, SLOPE_Y, CAVITY, SHADOW = 0, 1, 2, 3, 4  # channels of the relief grid

SKIN = np.array(
    [
        [0.95, 0.80, 0.73],
        [0.90, 0.71, 0.60],
        [0.80, 0.59, 0.46],
        [0.66, 0.45, 0.33],
        [0.47, 0.30, 0.21],
        [0.31, 0.19, 0.135],
    ]
)
HAIR = np.array(
    [[0.86, 0.72, 0.47], [0.66, 0.49, 0.29], [0.45, 0.30, 0.18], [0.25, 0.155, 0.10], [0.085, 0.065, 0.06]]
)
IRIS = np.array(
    [[0.50, 0.66, 0.80], [0.42, 0.58, 0.52], [0.48, 0.42, 0.24], [0.34, 0.20, 0.10], [0.16, 0.09, 0.06]]
)

FASTER = {
    "arcp",
    "contract",
    "nsz",
    "reassoc",
}  # fused and reordered arithmetic; not-a-numbers keep their meaning
compiled = njit(error_model="numpy", fastmath=FASTER)
# For what is called once a pixel with many arrays: passing those costs more than most of what is done with them.
woven_in = njit(error_model="numpy", fastmath=FASTER, inline="always")

# --- small mathematics ---


@compiled
def clamp(value, low, high):
    return min(max(value, low), high)


@compiled
def sine(angle):
    """Sine to 1e-7, at a fraction of the library's cost."""
    t = angle * 0.15915494309189535
    t -= math.floor(t + 0.5)
    if abs(t) > 0.25:
        t = math.copysign(0.5, t) - t
    a = 6.283185307179586 * t
    q = a * a
    return a * (1.0 - q * (1 / 6 - q * (1 / 120 - q * (1 / 5040 - q * (1 / 362880 - q / 39916800)))))


@compiled
def smoothstep(low, high, value):
    t = clamp((value - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


@compiled
def bump(squared_distance):
    """A bell of compact support: 1 at 0, 0 from squared distance 1 on."""
    t = max(0.0, 1.0 - squared_distance)
    return t * t * t


@compiled
def over(below, above, alpha):
    """Lay colour `above` with opacity `alpha` over colour `below`."""
    k = 1.0 - alpha
    return below[0] * k + above[0] * alpha, below[1] * k + above[1] * alpha, below[2] * k + above[2] * alpha


@compiled
def times(colour, factor):
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


@compiled
def tint(colour, by):
    return colour[0] * by[0], colour[1] * by[1], colour[2] * by[2]


@compiled
def plus(colour, other):
    return colour[0] + other[0], colour[1] + other[1], colour[2] + other[2]


@compiled
def dot(u, v):
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@compiled
def unit(u):
    k = 1.0 / math.sqrt(dot(u, u) + 1e-12)
    return u[0] * k, u[1] * k, u[2] * k


@compiled
def swatch(palette, position):
    """The linear-light colour at `position` in [0, 1] of a palette of sRGB rows."""
    t = clamp(position, 0.0, 1.0) * (palette.shape[0] - 1)
    row = min(int(t), palette.shape[0] - 2)
    t -= row
    red = palette[row, 0] * (1 - t) + palette[row + 1, 0] * t
    green = palette[row, 1] * (1 - t) + palette[row + 1, 1] * t
    blue = palette[row, 2] * (1 - t) + palette[row + 1, 2] * t
    return red * red, green * green, blue * blue


@compiled
def hsv(hue, saturation, value):
    """Linear-light colour of a hue (in turns), saturation and value (both in [0, 1])."""
    h = (hue % 1.0) * 6.0
    red = clamp(abs(h - 3.0) - 1.0, 0.0, 1.0)
    green = clamp(2.0 - abs(h - 2.0), 0.0, 1.0)
    blue = clamp(2.0 - abs(h - 4.0), 0.0, 1.0)
    red = value * (1.0 - saturation * (1.0 - red))
    green = value * (1.0 - saturation * (1.0 - green))
    blue = value * (1.0 - saturation * (1.0 - blue))
    return red * red, green * green, blue * blue


# --- pose and sections ---


@compiled
def pose(f):
    """Rotation from head to camera coordinates: roll after yaw after pitch."""
    yaw, pitch, roll = math.radians(f.yaw), math.radians(-f.pitch), math.radians(f.roll)
    cy, sy, cp, sp, cr, sr = (
        math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch), math.cos(roll), math.sin(roll),
    )  # fmt: skip
    rotation = np.empty((3, 3))
    rotation[0] = (cr * cy, -sr * cp + cr * sy * sp, sr * sp + cr * sy * cp)
    rotation[1] = (sr * cy, cr * cp + sr * sy * sp, -cr * sp + sr * sy * cp)
    rotation[2] = (-sy, cy * sp, cy * cp)
    return rotation


@compiled
def to_head(rotation, x, y, z):
    return (
        rotation[0, 0] * x + rotation[1, 0] * y + rotation[2, 0] * z,
        rotation[0, 1] * x + rotation[1, 1] * y + rotation[2, 1] * z,
        rotation[0, 2] * x + rotation[1, 2] * y + rotation[2, 2] * z,
    )


@compiled
def chin_height(f):
    return 1.36 * f.face_length


@compiled
def head_sections(f):
    """Rows (g, 1/a², z_c, dg/dy, dz_c/dy) of the head's stack of ellipses."""
    table = np.zeros((TABLE_ROWS, 5))
    for row in range(TABLE_ROWS):
        y = TABLE_LOW + row * TABLE_STEP
        below = max(-y, 0.0) / chin_height(f)
        if y > 0:
            g, a = (
                1.0 - (y / (1.38 * f.head_height)) ** 2.4,
                f.head_width * (1.0 - 0.05 * smoothstep(0.1, 0.9, y)),
            )
        else:
            g = 1.0 - below ** (2.5 + 1.3 * f.jaw_squareness)
            a = f.head_width * (1.0 + (f.jaw_width - 1.22) * smoothstep(0.12, 0.95, below))
        table[row, 0], table[row, 1], table[row, 2] = g, 1.0 / (a * a), 0.40 * below * below
    return with_slopes(table)


@compiled
def hair_sections(f):
    """The same for the hair's outer surface: head plus volume above, a falling curtain below."""
    table = np.zeros((TABLE_ROWS, 5))
    end = hair_end(f)
    for row in range(TABLE_ROWS):
        y = TABLE_LOW + row * TABLE_STEP
        volume = f.hair_volume * smoothstep(end - 0.25, end + 0.75, y)
        if y > 0:
            g, a = (
                1.0 - (y / (1.38 * f.head_height + 0.05 + 0.85 * f.hair_volume)) ** 2.3,
                f.head_width + volume,
            )
        else:
            g, a = 1.0, f.head_width + volume + f.hair_flare * min(-y, 1.6) * smoothstep(0.0, -1.0, end)
        table[row, 0], table[row, 1], table[row, 2] = g, 1.0 / (a * a), 0.0
    return with_slopes(table)


@compiled
def with_slopes(table):
    for row in range(1, TABLE_ROWS - 1):
        table[row, 3] = (table[row + 1, 0] - table[row - 1, 0]) / (2 * TABLE_STEP)
        table[row, 4] = (table[row + 1, 2] - table[row - 1, 2]) / (2 * TABLE_STEP)
    return table


@woven_in
def section_shape(table, y):
    """(g, 1/a², z_c) at height y."""
    t = clamp((y - TABLE_LOW) / TABLE_STEP, 1.0, TABLE_ROWS - 2.001)
    row = UNSIGNED(t)  # Numba wraps signed indices round, at a cost
    after = row + ONE
    t -= row
    k = 1.0 - t
    return (
        k * table[row, 0] + t * table[after, 0],
        k * table[row, 1] + t * table[after, 1],
        k * table[row, 2] + t * table[after, 2],
    )


@woven_in
def section_slopes(table, y):
    """(dg/dy, dz_c/dy) at height y."""
    t = clamp((y - TABLE_LOW) / TABLE_STEP, 1.0, TABLE_ROWS - 2.001)
    row = UNSIGNED(t)
    after = row + ONE
    t -= row
    k = 1.0 - t
    return k * table[row, 3] + t * table[after, 3], k * table[row, 4] + t * table[after, 4]


@compiled
def corners(relief, x, y):
    """(row, column, four weights) of the grid points round (x, y), for bilinear interpolation."""
    rows, columns = relief.shape[0], relief.shape[1]
    u = clamp((x + RELIEF_X) / (2 * RELIEF_X) * (columns - 1), 0.0, columns - 1.001)
    v = clamp((y - RELIEF_LOW) / (RELIEF_HIGH - RELIEF_LOW) * (rows - 1), 0.0, rows - 1.001)
    i, j = UNSIGNED(v), UNSIGNED(u)
    u -= j
    v -= i
    return i, j, ((1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v)


@compiled
def look_up(relief, at, channel):
    i, j, w = at
    below, after = i + ONE, j + ONE
    lower = relief[i, j, channel] * w[0] + relief[i, after, channel] * w[1]
    return lower + relief[below, j, channel] * w[2] + relief[below, after, channel] * w[3]


@woven_in
def coefficients(table, w2, y, raised, origin, direction):
    """(a, b, c, g, 1/a²) of the quadratic a t² + 2 b t + c = 0 for a ray and the ellipse at height y."""
    g, v2, centre = section_shape(table, y)
    z = origin[2] - centre - raised
    a = direction[0] * direction[0] * v2 + direction[2] * direction[2] * w2
    b = origin[0] * direction[0] * v2 + z * direction[2] * w2
    return a, b, origin[0] * origin[0] * v2 + z * z * w2 - g, g, v2


@compiled
def widest(table, depth):
    """The longest half-axis in a stack of ellipses."""
    longest = 0.0
    for row in range(TABLE_ROWS):
        axis = max(1.0 / math.sqrt(table[row, 1]), depth)
        longest = max(longest, axis * math.sqrt(max(table[row, 0], 0.0)))
    return longest


@woven_in
def outline(table, depth, origin, direction):
    """Distance of a ray from the outline of a stack of ellipses, > 0 inside: measured where the ray comes nearest."""
    w2 = 1.0 / (depth * depth)
    a, b, c, g, v2 = coefficients(table, w2, origin[1], 0.0, origin, direction)
    y = origin[1] - b / a * direction[1]
    a, b, c, g, v2 = coefficients(table, w2, y, 0.0, origin, direction)
    inside = b * b / a - c
    if abs(inside) > 0.4:
        return inside  # far from the edge nobody asks how far
    slope = section_slopes(table, y)[0]
    return inside / (math.sqrt(4.0 * max(g - inside, 0.0) * v2 + slope * slope) + 0.15)


@woven_in
def meet(table, depth, relief, start, origin, direction):
    """(t, x, y, z) where a ray meets a stack of ellipses with its relief, from a first guess `start` of t."""
    t, raised, x, y, z = start, 0.0, 0.0, 0.0, 0.0
    w2 = 1.0 / (depth * depth)
    for _ in range(4):
        a, b, c, _, _ = coefficients(table, w2, origin[1] + t * direction[1], raised, origin, direction)
        before, t = t, (math.sqrt(max(b * b - a * c, 0.0)) - b) / a
        x, y, z = origin[0] + t * direction[0], origin[1] + t * direction[1], origin[2] + t * direction[2]
        if abs(t - before) < 0.003:
            break
        raised = look_up(relief, corners(relief, x, y), HEIGHT) if z > 0.0 else 0.0
    return t, x, y, z


@woven_in
def meet_smooth(table, depth, start, origin, direction):
    """The same without a relief."""
    t, w2 = start, 1.0 / (depth * depth)
    for _ in range(4):
        a, b, c, _, _ = coefficients(table, w2, origin[1] + t * direction[1], 0.0, origin, direction)
        before, t = t, (math.sqrt(max(b * b - a * c, 0.0)) - b) / a
        if abs(t - before) < 0.003:
            break
    return t, origin[0] + t * direction[0], origin[1] + t * direction[1], origin[2] + t * direction[2]


# --- relief: the height field ---


@compiled
def add_bump(relief, xs, ys, x, y, width, above, below, height):
    """Add a separable bell of the given half-widths, mirrored in x; it may be steeper above than below."""
    for i in range(relief.shape[0]):
        dy = ys[i] - y
        v = bump((dy / (above if dy > 0 else below)) ** 2)
        if v == 0.0:
            continue
        for j in range(relief.shape[1]):
            u = bump(((abs(xs[j]) - x) / width) ** 2)
            relief[i, j, HEIGHT] += height * u * v


@compiled
def add_nose(relief, xs, ys, f):
    """A ridge that widens and rises from the root at the brows down to the tip, then drops to the lip."""
    tip = nose_base(f) + 0.13
    for i in range(relief.shape[0]):
        y = ys[i]
        along = clamp((0.22 - y) / (0.22 - tip), 0.0, 1.0)
        fall = (
            1.0 - smoothstep(tip - 0.03 + 0.05 * f.nose_tip, tip - 0.19 + 0.05 * f.nose_tip, y)
            if y < tip
            else 1.0
        )
        height = f.nose_height * (0.30 * f.nose_bridge + (1.0 - 0.30 * f.nose_bridge) * along**1.35) * fall
        height *= smoothstep(0.36, 0.12, y)
        width = (0.20 + 0.07 * along) * (0.75 + 0.25 * f.nose_width)
        for j in range(relief.shape[1]):
            relief[i, j, HEIGHT] += height * bump((xs[j] / width) ** 2)
    add_bump(relief, xs, ys, 0.0, tip, 0.17 * f.nose_width, 0.19, 0.15, 0.10)
    add_bump(relief, xs, ys, 0.155 * f.nose_width, tip - 0.035, 0.12 * f.nose_width, 0.15, 0.12, 0.13)


@compiled
def add_lips(relief, xs, ys, f):
    for i in range(relief.shape[0]):
        for j in range(relief.shape[1]):
            u = xs[j] / mouth_half_width(f)
            v = ys[i] - mouth_curve(f, u)
            if abs(u) > 1.2 or abs(v) > 0.4:
                continue
            gap = mouth_gap(f, u)
            arch = bump(u * u / 1.3)
            upper, lower = 0.11 * f.lip_upper + 0.03, 0.14 * f.lip_lower + 0.03
            relief[i, j, HEIGHT] += 0.085 * arch * bump(((v - 0.3 * gap - 0.5 * upper) / upper) ** 2)
            relief[i, j, HEIGHT] += 0.105 * arch * bump(((v + 0.7 * gap + 0.5 * lower) / lower) ** 2)
            relief[i, j, HEIGHT] -= 0.05 * bump(u * u / 1.44) * bump((v / 0.045) ** 2)


@compiled
def add_folds(relief, xs, ys, f):
    """The folds from the wings of the nose to the corners of the mouth."""
    x0, y0 = 0.20 * f.nose_width, nose_base(f) + 0.12
    x1, y1 = mouth_half_width(f) + 0.12, mouth_curve(f, 1.0) - 0.02
    depth = 0.012 + 0.035 * max(f.smile, 0.0) + 0.02 * f.age
    for i in range(relief.shape[0]):
        along = (ys[i] - y0) / (y1 - y0)
        if along < -0.1 or along > 1.2:
            continue
        middle = x0 + (x1 - x0) * along + 0.05 * math.sin(3.14 * clamp(along, 0.0, 1.0))
        for j in range(relief.shape[1]):
            d = (abs(xs[j]) - middle) / 0.09
            relief[i, j, HEIGHT] -= depth * bump(d * d) * bump((2.0 * along - 1.1) ** 2 / 1.6)


@compiled
def build_relief(f, head, light, columns):
    """The relief grid: heights over the head's stack, their slopes, cavities and the shadows cast by the key light."""
    rows = int(columns * 1.4)
    relief = np.zeros((rows, columns, 5))
    xs = np.linspace(-RELIEF_X, RELIEF_X, columns)
    ys = np.linspace(RELIEF_LOW, RELIEF_HIGH, rows)
    ex, chin, mouth = eye_x(f), chin_height(f), mouth_y(f)
    smile = max(f.smile, 0.0)
    add_bump(relief, xs, ys, 0.40, 0.30, 0.48, 0.26, 0.20, 0.075 * f.brow_ridge)
    add_bump(relief, xs, ys, ex, 0.04, 0.40, 0.24, 0.27, -0.15 * f.eye_depth)
    add_bump(relief, xs, ys, 0.20, 0.02, 0.16, 0.2, 0.2, -0.05 * f.eye_depth)
    add_bump(relief, xs, ys, ex, -0.01, 0.26, 0.17, 0.17, 0.095)
    add_bump(relief, xs, ys, 0.62, -0.30, 0.42, 0.36, 0.42, 0.075 * f.cheekbones)
    add_bump(relief, xs, ys, 0.47, -0.55, 0.36, 0.32, 0.34, 0.03 * f.cheek_fullness + 0.09 * smile)
    add_bump(relief, xs, ys, 0.70, -0.85, 0.36, 0.36, 0.42, 0.06 * (f.cheek_fullness - 1.15))
    add_bump(relief, xs, ys, 0.0, mouth, 0.55, 0.40, 0.42, 0.085)
    add_bump(relief, xs, ys, 0.0, mouth - 0.27, 0.36, 0.10, 0.12, -0.05)
    add_bump(relief, xs, ys, 0.0, -chin + 0.14, 0.36 * f.chin_size, 0.26, 0.28, 0.13 * f.chin_size)
    add_bump(relief, xs, ys, 0.0, 0.75, 0.9, 0.5, 0.45, 0.03)
    add_bump(relief, xs, ys, 0.045, 0.5 * (mouth + nose_base(f)) + 0.02, 0.05, 0.16, 0.16, 0.018)
    add_nose(relief, xs, ys, f)
    add_lips(relief, xs, ys, f)
    add_folds(relief, xs, ys, f)
    add_slopes(relief, xs, ys)
    add_cavities(relief)
    cast_shadows(relief, xs, ys, head, light)
    return relief


@compiled
def add_slopes(relief, xs, ys):
    dx, dy = 2 * (xs[1] - xs[0]), 2 * (ys[1] - ys[0])
    for i in range(1, relief.shape[0] - 1):
        for j in range(1, relief.shape[1] - 1):
            relief[i, j, SLOPE_X] = (relief[i, j + 1, HEIGHT] - relief[i, j - 1, HEIGHT]) / dx
            relief[i, j, SLOPE_Y] = (relief[i + 1, j, HEIGHT] - relief[i - 1, j, HEIGHT]) / dy


@compiled
def add_cavities(relief):
    """Depth below the neighbourhood's mean height (a box of about 0.3): how much ambient light is lost."""
    rows, columns = relief.shape[0], relief.shape[1]
    radius = max(1, columns // 16)
    total = np.zeros((rows + 1, columns + 1))
    for i in range(rows):
        line = 0.0
        for j in range(columns):
            line += relief[i, j, HEIGHT]
            total[i + 1, j + 1] = total[i, j + 1] + line
    for i in range(rows):
        top, bottom = max(0, i - radius), min(rows, i + radius + 1)
        for j in range(columns):
            left, right = max(0, j - radius), min(columns, j + radius + 1)
            mean = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
            relief[i, j, CAVITY] = mean / ((bottom - top) * (right - left)) - relief[i, j, HEIGHT]


@compiled
def cast_shadows(relief, xs, ys, head, light):
    """How much of the key light the relief keeps from each grid point (0 none, 1 all): a short march to the light."""
    rows, columns = relief.shape[0], relief.shape[1]
    surface = np.full((rows, columns), -1.0)
    for i in range(rows):
        g, v2, centre = section_shape(head, ys[i])
        for j in range(columns):
            room = g - xs[j] * xs[j] * v2
            if room > 0.0:
                surface[i, j] = centre + DEPTH * math.sqrt(room) + relief[i, j, HEIGHT]
    across = math.sqrt(light[0] ** 2 + light[1] ** 2) + 1e-9
    du, dv = light[0] / across / (xs[1] - xs[0]), light[1] / across / (ys[1] - ys[0])
    rise = light[2] / across
    for i in range(rows):
        for j in range(columns):
            if surface[i, j] < 0.0:
                continue
            blocked = 0.0
            for step in range(1, 9):
                reach = 0.055 * step
                k, m = int(i + dv * reach + 0.5), int(j + du * reach + 0.5)
                if k < 0 or m < 0 or k >= rows or m >= columns:
                    break
                over_ray = surface[k, m] - surface[i, j] - rise * reach
                blocked = max(blocked, over_ray / (0.03 + 0.25 * reach))
            relief[i, j, SHADOW] = clamp(blocked, 0.0, 1.0)


# --- where the features lie on the head ---


@compiled
def eye_x(f):
    return 0.43 * f.eye_spacing


@compiled
def nose_base(f):
    return -0.57 * f.nose_length


@compiled
def mouth_y(f):
    return nose_base(f) - 0.29 * f.mouth_drop


@compiled
def mouth_half_width(f):
    return 0.33 * f.mouth_width * (1.0 + 0.20 * max(f.smile, 0.0))


@compiled
def mouth_curve(f, u):
    """Height of the line between the lips at u (-1 and 1 at the corners)."""
    return mouth_y(f) + 0.14 * f.smile * (u * u - 0.3)


@compiled
def mouth_gap(f, u):
    """Opening between the lips."""
    return (0.24 * f.mouth_open + 0.07 * max(f.smile - 0.35, 0.0)) * max(1.0 - u * u, 0.0)


@compiled
def hair_end(f):
    """Height at which the hair ends."""
    return 0.30 - 2.4 * f.hair_length


@compiled
def window_height(f, x):
    """The hairline over the face: a dome that falls off from the parting, lowered by a fringe."""
    dx = x - 0.45 * f.hair_parting
    swept = f.hairline - 0.62 * dx * dx - 0.10 * abs(dx)
    straight = 0.44 + 0.05 * sine(5.0 * x + f.strand_phase)
    return swept + f.fringe * (min(straight, swept) - swept)


@compiled
def window_half_width(f, y):
    """Half-width of the face between the side hair."""
    return 0.87 * f.head_width - f.hair_cover * (0.10 + 0.16 * smoothstep(0.5, -0.8, y)) * smoothstep(
        0.15, 0.45, f.hair_length
    )


@compiled
def strands(f, s, footprint):
    """Brightness of hair across its strands, about -1 to 1; what a pixel cannot resolve fades out."""
    total, frequency, amplitude, phase = 0.0, 13.0, 0.5, 1.7 * f.strand_phase
    for _ in range(4):
        seen = 1.15 - frequency * footprint / 2.2
        if seen <= 0.0:
            break
        total += min(seen, 1.0) * amplitude * sine(frequency * s + phase)
        frequency, amplitude, phase = 2.3 * frequency, 0.87 * amplitude, phase + f.strand_phase
    return total


# --- the scene: directions and colours of one image ---

KEY, KEY_COLOUR, SKY, GROUND, SKIN_COLOUR, HAIR_COLOUR, BROW_COLOUR, IRIS_COLOUR, LIP_COLOUR = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
)
CLOTH, NEAR_WALL, FAR_WALL, KEY_CAMERA, VIEW, HALF, BLOB, WALL_AXIS = 9, 10, 11, 12, 13, 14, 15, 16
RIGHT_EAR, LEFT_EAR = 17, 18


@compiled
def get(scene, row):
    return scene[row, 0], scene[row, 1], scene[row, 2]


@compiled
def hair_colour(f):
    colour = swatch(HAIR, f.hair_darkness)
    colour = over(colour, (0.30 * (1.2 - f.hair_darkness), 0.055, 0.012), 0.75 * f.hair_red)
    return over(colour, (0.50, 0.50, 0.51), f.hair_grey)


@compiled
def build_scene(f, rotation):
    scene = np.zeros((19, 3))
    azimuth, elevation = math.radians(f.light_azimuth), math.radians(f.light_elevation)
    key = (
        math.sin(azimuth) * math.cos(elevation),
        math.sin(elevation),
        math.cos(azimuth) * math.cos(elevation),
    )
    scene[KEY_CAMERA] = key
    scene[KEY] = to_head(rotation, key[0], key[1], key[2])
    scene[VIEW] = to_head(rotation, 0.0, 0.0, 1.0)
    scene[HALF] = unit(plus(get(scene, KEY), get(scene, VIEW)))
    warm = f.light_warmth
    scene[KEY_COLOUR] = times((1.0 + 0.16 * warm, 1.0, 1.0 - 0.20 * warm), 1.12 * f.light_key)
    scene[NEAR_WALL] = hsv(f.wall_hue, f.wall_saturation, f.wall_value)
    far = clamp(f.wall_value + f.wall_contrast, 0.03, 0.98)
    scene[FAR_WALL] = hsv(f.wall_hue + f.wall_hue_shift, f.wall_saturation, far)
    angle = math.radians(f.wall_angle)
    scene[WALL_AXIS] = (math.cos(angle), math.sin(angle), 0.0)
    scene[BLOB] = hsv(f.blob_hue, 0.45, clamp(f.wall_value + 0.25, 0.0, 1.0))
    scene[RIGHT_EAR], scene[LEFT_EAR] = ear_place(f, 1.0, rotation), ear_place(f, -1.0, rotation)
    wall = get(scene, FAR_WALL)
    scene[SKY] = times(over((1.0, 1.0, 1.03), wall, 0.25), f.light_ambient)
    scene[GROUND] = times(over((0.62, 0.50, 0.44), wall, 0.25), 0.62 * f.light_ambient)
    skin = swatch(SKIN, f.skin_melanin)
    skin = tint(skin, (1.0 + 0.10 * f.skin_redness, 1.0 - 0.10 * f.skin_redness, 1.0 - 0.07 * f.skin_redness))
    scene[SKIN_COLOUR] = skin
    hair = hair_colour(f)
    scene[HAIR_COLOUR] = hair
    scene[BROW_COLOUR] = over(times(hair, 0.55), (0.020, 0.014, 0.012), 0.35)
    scene[IRIS_COLOUR] = swatch(IRIS, f.iris_darkness)
    natural = tint(skin, (0.88, 0.52, 0.53))
    scene[LIP_COLOUR] = over(
        natural, hsv(0.975 + 0.03 * f.lip_hue, 0.78, 0.74 - 0.22 * f.skin_melanin), f.lip_colour
    )
    scene[CLOTH] = hsv(f.cloth_hue, f.cloth_saturation, f.cloth_value)
    return scene


# --- shading ---


@compiled
def lit(albedo, normal, key, shadow, open_sky, scene):
    """Wrapped diffuse light, softer in red as in skin, plus ambient light from above and below."""
    facing = dot(normal, key)
    red = clamp((facing + 0.32) / 1.32, 0.0, 1.0) * (1.0 - 0.80 * shadow)
    green = clamp((facing + 0.20) / 1.20, 0.0, 1.0) * (1.0 - 0.90 * shadow)
    blue = clamp((facing + 0.15) / 1.15, 0.0, 1.0) * (1.0 - 0.92 * shadow)
    ambient = times(
        over(get(scene, GROUND), get(scene, SKY), clamp(0.5 + 0.5 * normal[1], 0.0, 1.0)), open_sky
    )
    light = plus(tint((red, green, blue), get(scene, KEY_COLOUR)), ambient)
    return tint(albedo, light)


@compiled
def gleam(normal, scene, sharpness):
    """Blinn-Phong highlight; `sharpness` doublings of the exponent."""
    s = max(dot(normal, get(scene, HALF)), 0.0)
    for _ in range(sharpness):
        s *= s
    return s


@compiled
def edge(distance, footprint):
    """Coverage of a pixel by an edge at a signed distance."""
    return clamp(0.5 + distance / footprint, 0.0, 1.0)


# --- the face ---


@woven_in
def skin_albedo(f, x, y, scene, footprint):
    """Skin with blush, lips, stubble, brows and lines, before light."""
    colour = get(scene, SKIN_COLOUR)
    ax = abs(x)
    blush = bump(((ax - 0.56) / 0.42) ** 2 + ((y + 0.42) / 0.36) ** 2) + 0.8 * bump(
        (x / 0.24) ** 2 + ((y - nose_base(f) - 0.12) / 0.22) ** 2
    )
    blush *= 0.10 + 0.22 * f.blush
    colour = tint(colour, (1.0 - 0.05 * blush, 1.0 - 0.42 * blush, 1.0 - 0.38 * blush))
    bags = bump(((ax - eye_x(f) + 0.03) / 0.24) ** 2 + ((y + 0.17) / 0.09) ** 2) * (0.08 + 0.22 * f.age)
    colour = tint(colour, (1.0 - bags, 1.0 - 1.15 * bags, 1.0 - 1.05 * bags))
    lines = f.age * 0.16 * bump((x / 0.5) ** 2) * bump(((y - 0.68) / 0.24) ** 2)
    if lines > 0.0:
        colour = times(colour, 1.0 - lines * (0.5 + 0.5 * sine(52.0 * y + 5.0 * x * x)))
    colour = with_beard(f, colour, x, y, scene, footprint)
    return with_brows(f, with_lips(f, colour, x, y, scene, footprint), ax, y, scene, footprint)


@compiled
def with_beard(f, colour, x, y, scene, footprint):
    if y > -0.3 or max(f.beard, f.moustache) <= 0.0:
        return colour
    ax = abs(x)
    v = y - mouth_curve(f, x / mouth_half_width(f))
    cheek_line = -0.50 - 0.62 * math.sqrt(1.0 - clamp(ax / 0.88, 0.0, 1.0))
    jaw = smoothstep(cheek_line + 0.08, cheek_line - 0.14, y) * smoothstep(
        0.05, 0.20, math.sqrt(max(ax - 0.20, 0.0) ** 2 + (v + 0.04) ** 2)
    )
    jaw *= 1.0 - 0.55 * bump((x / 0.16) ** 2) * bump(((v + 0.26) / 0.08) ** 2)
    upper = (nose_base(f) - 0.02 - y) / 0.07
    lip = clamp(upper, 0.0, 1.0) * clamp((v + 0.02) / 0.05, 0.0, 1.0) * smoothstep(0.46, 0.34, ax)
    grown = max(f.beard * jaw, f.moustache * lip)
    if grown <= 0.0:
        return colour
    grain = 1.0 + 0.12 * strands(f, 2.5 * x * (1.0 - 0.4 * y), 3.0 * footprint)
    alpha = clamp(grown * grain, 0.0, 0.93)
    return over(colour, get(scene, BROW_COLOUR), alpha)


@compiled
def with_lips(f, colour, x, y, scene, footprint):
    u = x / mouth_half_width(f)
    if abs(u) > 1.1:
        return colour
    v, gap, arch = y - mouth_curve(f, u), mouth_gap(f, u), max(1.0 - u * u, 0.0)
    upper = 0.3 * gap + 0.105 * f.lip_upper * arch * (1.0 - 0.32 * bump((u / 0.24) ** 2)) + 0.008
    lower = -0.7 * gap - 0.135 * f.lip_lower * arch * (1.25 - 0.25 * arch) - 0.008
    alpha = edge(min(upper - v, v - lower), max(footprint, 0.045)) * smoothstep(1.06, 0.94, abs(u))
    colour = over(colour, get(scene, LIP_COLOUR), alpha * 0.95)
    width = max(0.028, 0.75 * footprint)
    line = bump((v / width) ** 2) * smoothstep(1.12, 0.98, abs(u)) * math.sqrt(0.030 / width)
    return times(colour, 1.0 - 0.78 * line)


@compiled
def with_brows(f, colour, ax, y, scene, footprint):
    u = (ax - 0.15) / (0.60 * f.eye_spacing)
    if u < -0.1 or u > 1.1 or abs(y - 0.33) > 0.3:
        return colour
    middle = (
        0.31 * f.brow_height
        + 0.085 * f.brow_arch * sine(2.6 * clamp(u, 0.0, 1.0))
        + 0.13 * f.brow_tilt * (u - 0.45)
    )
    half = 0.062 * f.brow_thickness * (1.0 - 0.62 * clamp(u, 0.0, 1.0) ** 2)
    alpha = (
        edge(half - abs(y - middle), footprint + 0.035)
        * smoothstep(-0.05, 0.12, u)
        * smoothstep(1.05, 0.82, u)
    )
    if alpha <= 0.0:
        return colour
    grain = 1.0 + 0.16 * strands(f, 1.5 * ax + 1.1 * y, 1.8 * footprint)
    return over(colour, get(scene, BROW_COLOUR), clamp(alpha * f.brow_density * grain, 0.0, 0.95))


@woven_in
def face_pixel(f, x, y, z, head, relief, scene, footprint):
    """Lit colour of the face's surface at (x, y, z)."""
    _, v2, centre = section_shape(head, y)
    dg, dcentre = section_slopes(head, y)
    front = 1.0 if z > 0.0 else 0.0
    at = corners(relief, x, y)
    slope_x, slope_y = front * look_up(relief, at, SLOPE_X), front * look_up(relief, at, SLOPE_Y)
    toward = (z - centre - front * look_up(relief, at, HEIGHT)) / (DEPTH * DEPTH)
    normal = unit((x * v2 - toward * slope_x, -0.5 * dg - toward * (slope_y + dcentre), toward))
    shadow = front * look_up(relief, at, SHADOW)
    cavity = front * look_up(relief, at, CAVITY)
    roof = under_hair(f, x, y)
    open_sky = clamp(1.0 - 9.0 * max(cavity, 0.0) + 1.5 * max(-cavity, 0.0), 0.35, 1.15) * roof
    albedo = skin_albedo(f, x, y, scene, footprint)
    colour = lit(albedo, normal, get(scene, KEY), shadow, open_sky, scene)
    colour = times(colour, clamp(1.0 - 4.0 * max(cavity, 0.0), 0.6, 1.0) * (0.45 + 0.55 * roof))
    shine = f.skin_gloss * (0.09 * gleam(normal, scene, 3) + 0.13 * gleam(normal, scene, 5)) * (1.0 - shadow)
    colour = plus(
        colour,
        times(get(scene, KEY_COLOUR), shine * open_sky * clamp(albedo[1] / scene[SKIN_COLOUR, 1], 0.0, 1.0)),
    )
    colour = with_nostrils(f, colour, x, y)
    if not (-1.4 < y < 0.5):
        return colour
    white = lit((1.0, 1.0, 1.0), normal, get(scene, KEY), 0.7 * shadow, open_sky, scene)
    brightness = dot(white, (0.33, 0.34, 0.33))
    colour = with_mouth(f, colour, x, y, brightness, footprint)
    return with_eye(f, colour, x, y, brightness, scene, footprint)


@compiled
def under_hair(f, x, y):
    """Light left under the overhang of the hair: 1 in the open."""
    below = window_height(f, x) - y
    beside = window_half_width(f, y) - abs(x)
    return (
        1.0
        - 0.55 * bump((max(below, 0.0) / 0.26) ** 2)
        - 0.25 * f.hair_cover * bump((max(beside, 0.0) / 0.25) ** 2)
    )


@compiled
def with_nostrils(f, colour, x, y):
    u = (abs(x) - 0.095 * f.nose_width) / (0.070 * f.nose_width)
    v = (y - nose_base(f) - 0.035 - 0.10 * (abs(x) - 0.09)) / (0.036 + 0.020 * f.nose_tip)
    return over(colour, times(colour, 0.22), 0.85 * bump((u * u + v * v) / 1.4))


@compiled
def with_mouth(f, colour, x, y, brightness, footprint):
    """The open mouth: dark inside, the upper teeth behind the upper lip."""
    u = x / mouth_half_width(f)
    gap = mouth_gap(f, u)
    if gap < 0.004:
        return colour
    v = y - mouth_curve(f, u)
    alpha = edge(min(0.3 * gap - v, v + 0.7 * gap), footprint)
    if alpha <= 0.0:
        return colour
    full = mouth_gap(f, 0.0)
    bottom = 0.3 * full - (0.10 + 0.03 * f.smile) - 0.02 * u * u
    teeth = edge(v - bottom, max(footprint, 0.03)) * smoothstep(0.98, 0.72, abs(u))
    shade = (0.50 + 0.38 * smoothstep(0.9, 0.2, abs(u))) * (0.25 + 0.75 * brightness)
    gaps = 1.0 - 0.18 * clamp(1.0 - 9.0 * footprint, 0.0, 1.0) * bump((math.sin(x * 36.0) / 0.25) ** 2)
    inside = over((0.055, 0.014, 0.014), times((0.83, 0.80, 0.74), shade * gaps), teeth)
    return over(colour, inside, alpha)


@woven_in
def with_eye(f, colour, x, y, brightness, scene, footprint):
    """Lids, lashes, sclera, iris, pupil and the light's reflection."""
    half = 0.215 * f.eye_size
    u = (abs(x) - eye_x(f)) / half
    if abs(u) > 1.35 or abs(y) > 0.45:
        return colour
    v = y - 0.13 * f.eye_slant * u * half
    arch = max(1.0 - u * u, 0.0)
    upper = half * 0.50 * f.eye_open * arch * (1.0 - 0.16 * u)
    lower = -half * (0.16 + 0.16 * f.eye_open) * arch * (1.0 + 0.16 * u)
    lid = (
        smoothstep(upper + 0.15, upper + 0.03, v)
        * smoothstep(upper - 0.02, upper + 0.02, v)
        * smoothstep(1.3, 0.8, abs(u))
    )
    colour = over(colour, times(tint(colour, (0.92, 0.86, 0.92)), 0.55), lid * (0.10 + 0.75 * f.eye_makeup))
    crease = bump(((v - upper - 0.075 - 0.02 * f.eye_open) / max(0.034, footprint)) ** 2) * smoothstep(
        1.25, 0.75, abs(u)
    )
    colour = times(colour, 1.0 - 0.42 * f.lid_crease * crease)
    opening = edge(min(upper - v, v - lower) * 0.9, footprint) * smoothstep(1.02, 0.96, abs(u))
    if opening > 0.0:
        colour = over(colour, eyeball(f, x, v, upper, brightness, scene, footprint), opening)
    width = max(0.022 + 0.026 * f.eye_makeup, 0.62 * footprint)
    lash = (
        bump(((v - upper - 0.2 * width) / (1.6 * width)) ** 2)
        * smoothstep(1.16, 0.92, abs(u))
        * (0.70 + 0.3 * u)
    )
    colour = over(colour, (0.018, 0.012, 0.010), clamp(lash * (0.72 + 0.25 * f.eye_makeup), 0.0, 0.95))
    below = bump(((v - lower) / max(0.03, footprint)) ** 2) * smoothstep(1.1, 0.8, abs(u))
    return times(colour, 1.0 - below * (0.22 + 0.30 * f.eye_makeup))


@compiled
def eyeball(f, x, v, upper, brightness, scene, footprint):
    side = 1.0 if x > 0 else -1.0
    dx, dy = x - side * eye_x(f) - 0.075 * f.gaze_x, v - 0.018 - 0.045 * f.gaze_y
    radius = 0.104 * math.sqrt(f.eye_size)
    r = math.hypot(dx, dy)
    light = (0.30 + 0.70 * brightness) * (1.0 - 0.48 * smoothstep(0.10, 0.0, upper - v))
    colour = times((0.74, 0.70, 0.68), light)
    iris = times(
        get(scene, IRIS_COLOUR),
        light * (0.60 + 0.60 * clamp(r / radius, 0.0, 1.0) - 0.35 * clamp(dy / radius, -1.0, 1.0)),
    )
    iris = over(iris, times(iris, 0.30), smoothstep(0.72, 1.0, r / radius))
    iris = over(iris, (0.006, 0.005, 0.005), edge(radius * f.pupil - r, footprint))
    colour = over(colour, iris, edge(radius - r, footprint))
    key = get(scene, KEY_CAMERA)
    spot = math.hypot(dx - 0.042 * clamp(1.6 * key[0], -1.0, 1.0) - 0.01, dy - 0.036)
    size = max(0.026, 0.55 * footprint)
    return over(
        colour,
        (0.95, 0.95, 0.95),
        clamp(f.light_key, 0.0, 1.0) * bump((spot / (1.5 * size)) ** 2) * (0.026 / size) ** 0.6,
    )


# --- ears, neck, clothes, walls ---


@compiled
def ear_place(f, side, rotation):
    """(X, Y) of an ear, and how far its side is turned to the viewer."""
    hx, hy, hz = side * 0.985 * f.head_width, -0.13, -0.12
    cx = rotation[0, 0] * hx + rotation[0, 1] * hy + rotation[0, 2] * hz
    cy = rotation[1, 0] * hx + rotation[1, 1] * hy + rotation[1, 2] * hz
    return cx, cy, -side * rotation[0, 2]


@compiled
def ear_pixel(f, colour, side, X, Y, rotation, scene, footprint):
    """Lay one ear over `colour`."""
    cx, cy, turned = get(scene, RIGHT_EAR if side > 0.0 else LEFT_EAR)
    dx, dy = X - cx, Y - cy
    if abs(dx) > 0.5 or abs(dy) > 0.6:
        return colour
    rx = (0.115 + 0.12 * max(turned, 0.0)) * f.ear_size
    ry = 0.29 * f.ear_size
    tilt = rotation[1, 0]
    u, v = (dx + tilt * dy) / rx, (dy - tilt * dx) / ry
    u /= 1.0 + 0.25 * v
    q = math.sqrt(u * u + v * v)
    alpha = edge((1.0 - q) * rx, footprint)
    if alpha <= 0.0:
        return colour
    normal = unit((side * 0.55 + 0.5 * u, 0.4 * v, 0.75))
    skin = tint(get(scene, SKIN_COLOUR), (0.97, 0.80, 0.78))
    ear = lit(skin, normal, get(scene, KEY), 0.15, 0.8, scene)
    ear = times(ear, 1.0 - 0.50 * bump(((u - 0.15 * side) ** 2 + (v - 0.05) ** 2) / 0.50))
    return over(colour, ear, alpha)


@woven_in
def body_pixel(f, colour, X, Y, rotation, scene, footprint):
    """Neck, shoulders and clothes."""
    if Y > -0.6:
        return colour
    key = get(scene, KEY_CAMERA)
    chin = -chin_height(f)
    base = chin - 0.33
    half = 0.53 * f.neck_width * (1.0 + 0.55 * smoothstep(base + 0.28, base - 0.25, Y))
    middle = 0.10 * rotation[0, 2]
    u = (X - middle) / half
    if abs(u) < 1.2:
        cover = edge((1.0 - abs(u)) * half, footprint)
        normal = unit((u, -0.05, math.sqrt(max(1.0 - u * u, 0.02))))
        chin_shadow = 0.85 * smoothstep(base - 0.02, chin + 0.12, Y)
        neck = lit(
            get(scene, SKIN_COLOUR), normal, key, 0.25 + 0.75 * chin_shadow, 0.85 - 0.45 * chin_shadow, scene
        )
        neck = times(neck, 1.0 - 0.10 * bump(((abs(u) - 0.28) / 0.12) ** 2) * smoothstep(chin, base, Y))
        colour = over(colour, neck, cover)
    if base + 0.10 + footprint < Y:
        return colour
    away = abs(X - middle)
    rim = 0.80 * f.neck_width
    top = (
        base
        + 0.10
        - f.shoulder_slope * 0.34 * max(away - 0.45, 0.0) * math.sqrt(math.sqrt(max(away - 0.45, 0.0)))
    )
    collar = base + 0.06 - f.collar_depth * max(1.0 - away / rim, 0.0)
    inside = min(top, collar if away < rim else top) - Y
    cover = edge(inside * 0.8, footprint)
    if cover <= 0.0:
        return colour
    normal = unit((0.42 * (X - middle), 0.45, 0.8))
    fold = 1.0 + 0.10 * sine(5.0 * X + 3.0 * Y + f.strand_phase) * smoothstep(0.0, 0.4, inside)
    cloth = lit(times(get(scene, CLOTH), fold), normal, key, 0.1, 0.8, scene)
    cloth = times(cloth, 1.0 - 0.35 * bump((inside / 0.10) ** 2) * (away < rim))
    return over(colour, cloth, cover)


@compiled
def wall_pixel(f, px, py, scene):
    """Background at image position (px, py) in [0, 1]: two tones across a soft border, a soft light, a vignette."""
    across = (px - 0.5) * scene[WALL_AXIS, 0] + (py - 0.5) * scene[WALL_AXIS, 1] - f.wall_offset
    t = 0.5 + 0.5 * across / math.sqrt(across * across + f.wall_softness * f.wall_softness)
    colour = over(get(scene, NEAR_WALL), get(scene, FAR_WALL), t)
    dx, dy = (px - f.blob_x) / f.blob_size, (py - f.blob_y) / f.blob_size
    colour = over(colour, get(scene, BLOB), f.blob_strength * bump((dx * dx + dy * dy) / 2.2))
    away = (px - 0.5) ** 2 + (py - 0.5) ** 2
    return times(colour, 1.0 - f.vignette * away)


# --- hair ---


@compiled
def strand_coordinate(f, x, y):
    """Angle round a pole above the parting: constant along a strand."""
    s = math.atan2(x - 0.45 * f.hair_parting, hair_pole(f) - y + 0.40)
    return s + f.hair_wave * 0.07 * sine(6.5 * y + 3.0 * s + f.strand_phase) * smoothstep(1.2, 0.2, y)


@compiled
def hair_pole(f):
    return 1.38 * f.head_height + 0.25


@compiled
def hair_cover(f, below, beside, y, z, n, footprint):
    """Opacity of the hair at a point of its surface: none in the window for the face, none below its end.

    `below` and `beside` say how far the point lies inside the window's upper and side borders.
    """
    end = hair_end(f) + 0.13 * n * smoothstep(0.2, 0.5, f.hair_length) + 0.03 * n
    fade = 0.10 + 0.22 * smoothstep(0.40, 0.15, f.hair_length)
    falls = smoothstep(-fade, fade, y - end)
    if z < 0.0:
        return falls
    window = min(below + 0.05 * n, beside + 0.03 * n)
    soft = max(footprint, 0.05)
    return falls * (1.0 - smoothstep(-soft, soft, window))


@woven_in
def hair_shade(f, x, y, z, n, hair, scene):
    """Diffuse light on the volume, two highlights along the strands (after Kajiya and Kay 1989)."""
    _, v2, _ = section_shape(hair, y)
    dg, _ = section_slopes(hair, y)
    normal = unit((x * v2, -0.5 * dg, z / (hair_depth(f) ** 2)))
    strand = (x - 0.45 * f.hair_parting, y - hair_pole(f), 0.6 * z)
    along = dot(strand, normal)
    tangent = unit(
        (strand[0] - along * normal[0], strand[1] - along * normal[1], strand[2] - along * normal[2])
    )
    half = dot(tangent, get(scene, HALF)) + 0.10 * n * f.strand_contrast
    glint = max(1.0 - half * half, 0.0)
    for _ in range(3):
        glint *= glint
    broad = glint
    glint *= glint
    albedo = times(get(scene, HAIR_COLOUR), max(1.0 + 0.55 * f.strand_contrast * n, 0.25))
    colour = lit(albedo, normal, get(scene, KEY), 0.0, 0.9, scene)
    facing = clamp(dot(normal, get(scene, KEY)) + 0.25, 0.0, 1.0)
    white = times(get(scene, KEY_COLOUR), 0.030 * f.hair_gloss * glint * facing * (1.0 + 0.5 * n))
    return plus(plus(colour, times(albedo, 0.75 * f.hair_gloss * broad * facing)), white)


@compiled
def hair_depth(f):
    return DEPTH + 0.12 + 0.6 * f.hair_volume


@woven_in
def front_hair(f, x, y, z, distance, hair, scene, footprint):
    """Colour and opacity of the hair in front of the face and shoulders."""
    below, beside = window_height(f, x) - y, window_half_width(f, y) - abs(x)
    near = min(below, beside) if z > 0.0 else -1.0
    end = hair_end(f)
    if near > 0.2 or y < end - 0.7:
        return (0.0, 0.0, 0.0), 0.0
    n = strands(f, strand_coordinate(f, x, y), footprint / (0.40 + abs(hair_pole(f) - y)))
    alpha = hair_cover(f, below, beside, y, z, n, footprint) * edge(
        distance + 0.015 * n * clamp(1.4 - y, 0.0, 1.0), footprint * 1.2
    )
    if alpha <= 0.0:
        return (0.0, 0.0, 0.0), 0.0
    shade = hair_shade(f, x, y, z, n, hair, scene)
    shade = times(shade, 1.0 - 0.35 * bump((near / 0.16) ** 2))
    shade = times(shade, 1.0 - 0.25 * smoothstep(end + 0.7, end, y) * smoothstep(0.3, 0.5, f.hair_length))
    return shade, alpha


@compiled
def back_hair(f, colour, y, distance, scene, footprint):
    """Lay the hair behind the neck, dark, over `colour`."""
    end = hair_end(f)
    alpha = edge(distance - 0.03, footprint * 1.2) * smoothstep(end - 0.06, end + 0.10, y)
    dark = tint(get(scene, HAIR_COLOUR), times(get(scene, GROUND), 0.42))
    return over(colour, dark, alpha)


# --- glasses ---


@compiled
def with_glasses(f, colour, origin, direction, footprint, scene):
    t = (DEPTH + 0.10 - origin[2]) / direction[2]
    x, y = origin[0] + t * direction[0], origin[1] + t * direction[1] + 0.05
    if abs(y) > 0.5:
        return colour
    half_x, half_y = 0.33 * f.glasses_size, (0.20 + 0.11 * f.glasses_roundness) * f.glasses_size
    dx, dy = abs(x) - 0.445 * f.eye_spacing, y
    power = 4.0 - 1.8 * f.glasses_roundness
    q = (abs(dx / half_x) ** power + abs(dy / half_y) ** power) ** (1.0 / power)
    distance = (1.0 - q) * min(half_x, half_y)
    lens = edge(distance, footprint)
    glare = 0.05 + 0.10 * smoothstep(0.3, 0.0, abs(dx + dy - 0.05))
    colour = over(colour, times(over(colour, get(scene, SKY), glare), 0.93), lens * 0.8)
    width = max(0.020 + 0.030 * f.glasses_thickness, 0.5 * footprint)
    rim = edge(width - abs(distance), footprint)
    inner = 0.445 * f.eye_spacing - half_x
    outer = 0.445 * f.eye_spacing + half_x
    bridge = edge(width - abs(y - 0.06 - 0.25 * (inner * inner - x * x)), footprint) * (abs(x) < inner)
    temple = edge(0.9 * width - abs(y - 0.07), footprint) * (abs(x) > outer) * (abs(x) < 1.0 * f.head_width)
    frame = hsv(0.06, 0.45, 0.08 + 0.42 * f.glasses_tone)
    return over(colour, frame, 0.92 * max(rim, max(bridge, temple)))


# --- the image ---


@compiled
def develop(image):
    """Turn linear light into displayed values: a soft shoulder for highlights, then the square root."""
    flat = image.ravel()
    for k in range(flat.size):
        light = max(flat[k], 0.0)
        excess = max(light - 0.7, 0.0)
        flat[k] = math.sqrt(min(light, 0.7) + excess / (1.0 + excess / 0.3))


@woven_in
def pixel(f, place, footprint, starts, reach, rotation, head, hair, relief, scene):
    """Linear colour at an image position, and the ray parameters at which hair and head were met.

    Only what shows is computed: the hair first, the face where the hair lets it through, the rest where both do.
    No hair is looked for where the ray passes the head's axis at more than `reach`.
    """
    X, Y = camera_position(f, place)
    origin, direction = to_head(rotation, X, Y, 0.0), get(scene, VIEW)
    locks, alpha, t, u, hx, hy = (0.0, 0.0, 0.0), 0.0, starts[0], starts[1], 0.0, 0.0
    away = -math.inf
    if abs(origin[0] * direction[2] - origin[2] * direction[0]) < reach:
        away = outline(hair, hair_depth(f), origin, direction)
    if away > -footprint:
        t, hx, hy, hz = meet_smooth(hair, hair_depth(f), starts[0], origin, direction)
        locks, alpha = front_hair(f, hx, hy, hz, away, hair, scene, footprint)
    if alpha > 0.999:
        return locks, (t, u)
    # The head lies inside the hair's outline, which goes on below the hair's end.
    cover = edge(outline(head, DEPTH, origin, direction), footprint) if away > -4.0 * footprint else 0.0
    colour = (0.0, 0.0, 0.0)
    if cover < 1.0:
        colour = behind_face(f, place, X, Y, hy, away, rotation, scene, footprint)
    if cover > 0.0:
        u, x, y, z = meet(head, DEPTH, relief, starts[1], origin, direction)
        face = face_pixel(f, x, y, z, head, relief, scene, footprint)
        colour = over(colour, face, cover)
        turned = 1.0 if rotation[0, 2] < 0.0 else -1.0
        near = ear_pixel(f, colour, turned, X, Y, rotation, scene, footprint)
        colour = over(colour, near, smoothstep(0.05, 0.22, abs(rotation[0, 2])))
        if f.glasses > 0.5:
            colour = with_glasses(f, colour, origin, direction, footprint, scene)
    return over(colour, locks, alpha), (t, u)


@woven_in
def behind_face(f, place, X, Y, hy, away, rotation, scene, footprint):
    """Wall, hair behind the neck, body and ears, back to front."""
    colour = wall_pixel(f, place[0], place[1], scene)
    if away > -footprint:
        colour = back_hair(f, colour, hy, away, scene, footprint)
    colour = body_pixel(f, colour, X, Y, rotation, scene, footprint)
    colour = ear_pixel(f, colour, 1.0, X, Y, rotation, scene, footprint)
    return ear_pixel(f, colour, -1.0, X, Y, rotation, scene, footprint)


@compiled
def camera_position(f, place):
    length = PIXELS_PER_UNIT * f.scale
    return (place[0] - 0.5 - f.shift_x) / length, (EYE_LINE - f.shift_y - place[1]) / length


@njit(nogil=True, cache=True, error_model="numpy", fastmath=FASTER)
def draw(faces, images):
    """Draw each record of `faces` into the images (n, size, size, 3), displayed values in [0, 1]."""
    size = images.shape[1]
    for k in range(images.shape[0]):
        f = faces[k]
        rotation, head, hair = pose(f), head_sections(f), hair_sections(f)
        scene = build_scene(f, rotation)
        relief = build_relief(f, head, get(scene, KEY), max(72, int(0.75 * size)))
        footprint = 1.0 / (size * PIXELS_PER_UNIT * f.scale)
        reach = footprint + widest(hair, hair_depth(f)) * math.hypot(scene[VIEW, 0], scene[VIEW, 2])
        for row in range(size):
            starts = (0.9, 0.9)
            for column in range(size):
                place = ((column + 0.5) / size, (row + 0.5) / size)
                colour, starts = pixel(
                    f, place, footprint, starts, reach, rotation, head, hair, relief, scene
                )
                for channel in range(3):
                    images[k, row, column, channel] = colour[channel]
        develop(images[k])
