"""
From reinforcement learning to a control loop in C
==================================================

A policy that balances a pole on a cart: found by trying, written as a C header, run by a loop in C
that is fast enough for any controller.
"""

# %%
# The cart and the pole (Barto, Sutton & Anderson 1983): position, speed, angle, angular speed. The
# force of the policy is between -10 and 10 newton.

import subprocess
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import fastnn
import fastnn.export

STEP, LENGTH, CART, POLE, GRAVITY = 0.02, 0.5, 1.0, 0.1, 9.8


def move(state, force):
    x, v, angle, turn = state.T
    pull = (force + POLE * LENGTH * turn**2 * np.sin(angle)) / (CART + POLE)
    bend = (GRAVITY * np.sin(angle) - np.cos(angle) * pull) / (
        LENGTH * (4 / 3 - POLE * np.cos(angle) ** 2 / (CART + POLE)))
    push = pull - POLE * LENGTH * bend * np.cos(angle) / (CART + POLE)
    return np.column_stack([x + STEP * v, v + STEP * push, angle + STEP * turn,
                            turn + STEP * bend])


# %%
# How good is a policy? It drives 16 carts from different starts for four seconds. Each step with
# the pole up and the cart within bounds counts; being near the middle counts a little.

rng = np.random.default_rng(0)
starts = rng.uniform(-0.15, 0.15, (16, 4))


def reward(policy, starts=starts, n_steps=200):
    state, alive, total = starts, np.ones(len(starts), bool), 0.0
    for _ in range(n_steps):
        force = 10 * policy.predict(state.astype("float32"))[:, 0]
        state = np.where(alive[:, None], move(state, force), state)
        alive = alive & (np.abs(state[:, 0]) < 2.4) & (np.abs(state[:, 2]) < 0.21)
        if not alive.any():
            break
        total += (alive * (1 - 0.1 * np.abs(state[:, 0]))).mean()
    return total / n_steps


policy = fastnn.MLP((4, 8, 1), activation="tanh", output="tanh", random_state=0)
print("before:", round(reward(policy), 3))

# %%
# An evolution strategy needs no gradient of the world: it tries networks on both sides of this
# one, and goes where the reward is larger.

strategy = fastnn.EvolutionStrategy(0.1, population=24, sigma=0.2)
policy, values = strategy.maximize(reward, policy, generations=36, random_state=0)
print("after: ", round(reward(policy), 3))

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.plot(np.atleast_2d(values).reshape(len(values), -1).mean(axis=1))
left.set(xlabel="generation", ylabel="reward")
state = np.array([[0.0, 0.0, 0.15, 0.0]])
path = [state[0]]
for _ in range(300):
    state = move(state, 10 * policy.predict(state.astype("float32"))[:, 0])
    path.append(state[0])
path = np.array(path)
right.plot(np.arange(301) * STEP, path[:, 0], label="position, m")
right.plot(np.arange(301) * STEP, path[:, 2], label="angle, rad")
right.set(xlabel="seconds")
right.legend()
plt.show()

# %%
# On starts that it has not seen:

print(round(reward(policy, rng.uniform(-0.15, 0.15, (50, 4))), 3))

# %%
# Into C. The loop reads sensors, asks the policy, sets the force; here a model of the cart is in
# their place. A step takes far less than a microsecond, and always the same number of operations.

fastnn.export.c_header(policy, "policy.h", prefix="policy", test_rows=starts)
Path("loop.c").write_text(r"""
#include <stdio.h>
#include <time.h>
#include "policy.h"

static float x, v, angle = 0.15f, turn;           /* what sensors would say */

static void move(float force) {
    float pull = (force + 0.05f * turn * turn * sinf(angle)) / 1.1f;
    float bend = (9.8f * sinf(angle) - cosf(angle) * pull)
                 / (0.5f * (4.0f / 3 - 0.1f * cosf(angle) * cosf(angle) / 1.1f));
    float push = pull - 0.05f * bend * cosf(angle) / 1.1f;
    x += 0.02f * v, v += 0.02f * push, angle += 0.02f * turn, turn += 0.02f * bend;
}

int main(void) {
    float scratch[POLICY_SCRATCH], out[POLICY_N_OUTPUTS];

    if (policy_self_test() != 0)
        return 1;
    for (int step = 0; step < 300; step++) {
        const float sensors[POLICY_N_INPUTS] = { x, v, angle, turn };
        policy_predict(sensors, out, scratch);
        move(10 * out[0]);
    }
    printf("after 6 s: position %.3f m, angle %.4f rad\n", x, angle);

    const int calls = 1000000;
    float sum = 0;
    clock_t start = clock();
    for (int call = 0; call < calls; call++) {
        const float sensors[POLICY_N_INPUTS] = { sum * 1e-9f, 0.1f, 0.01f, -0.2f };
        policy_predict(sensors, out, scratch);
        sum += out[0];
    }
    printf("%.0f ns for a decision\n", (double)(clock() - start) / CLOCKS_PER_SEC / calls * 1e9);
    return sum == 12345;
}
""")
subprocess.run("cc -std=c99 -O2 loop.c -o loop -lm", shell=True, check=True)
print(subprocess.run("./loop", capture_output=True, text=True, check=True).stdout)

# %%
# The path of the loop in C is that of the one in Python, to rounding:

print("in Python: position {:.3f} m, angle {:.4f} rad".format(*path[-1][[0, 2]]))
