"""modelrouter: which model should do this task?"""
