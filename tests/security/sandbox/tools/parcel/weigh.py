"""How heavy it is."""

from math import sqrt


def weight(number):
    return sqrt(number)
