"""The judges of digits, faces, MNIST and CIFAR-10: 5 minutes on two CPU cores.

A judge is a small classifier that scores generated images. Its network and its steps
stand in keras_gen/judge.py, for train_judge trains one of any other data set too.

Data           the training images of load_dataset, uint8: 1,437 digits, 10,000 faces,
               60,000 of MNIST; of CIFAR-10 all that lie there, which were the first
               25,000 for the judge that comes with the project. Each batch is moved by
               up to one pixel; in colour by up to two, and mirrored half of the time.
Network        three times a convolution (kernel 3), max pooling, batch normalisation
               (momentum 0.9) and ReLU, with 32, 64 and 128 filters, half as many for
               grey images; dense to 64 features, ReLU; dropout 0.3; dense to the
               classes.
Loss           cross-entropy.
Optimizer      Adam. Its rate climbs from 0.0003 to 0.003 in the first fifth of the
               steps and falls along a cosine to 0 in the others. Batches of 128.
Epochs         digits 15, faces 3, MNIST 4, CIFAR-10 8.
Kept           the latest weights, as float16, and the test accuracy. No averages.

Expect on the test images: digits 99.44 %, faces 99.85 %, MNIST 99.39 %, CIFAR-10 75.6 %
(the first 5,000). MNIST and CIFAR-10 are looked for where load_dataset does.
"""

import keras_gen as kg
from keras_gen import pretrained
from keras_gen.judge import EPOCHS

NAMES = ("digits", "faces", "mnist", "cifar10")


def train():
    for name in NAMES:
        judge = kg.train_judge(name, EPOCHS[name])
        path = pretrained.FOLDER / f"judge_{name}.npz"
        pretrained.save_pretrained(judge.model, path, test_accuracy=judge.test_accuracy)


def score():
    for name in NAMES:
        judge = kg.load_judge(name)  # prints the accuracy that came with it
        _, (x_test, y_test) = kg.load_dataset(name)
        accuracy = kg.label_accuracy(judge, x_test, y_test)
        print(f"  counted again: {accuracy:.2%}")
